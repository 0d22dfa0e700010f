// The programs of a one-node Kubernetes cluster, linked into one binary so that their common code is compiled once.
// The program to be is named by argv[0] (a link called kubectl) or else by the first argument (`cluster etcd …`).
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // client metrics
	_ "k8s.io/component-base/metrics/prometheus/version"  // build info metric
)

// A program reads os.Args, whose first word is its own name, and returns its exit code.
type program func() int

var programs = map[string]program{
	"coredns":                 coreDNS,
	"etcd":                    etcd,
	"helm":                    helm,
	"kube-apiserver":          apiServer,
	"kube-controller-manager": controllerManager,
	"kube-proxy":              proxy,
	"kube-scheduler":          scheduler,
	"kubectl":                 kubectl,
	"kubelet":                 kubelet,
}

func main() {
	run, found := programs[filepath.Base(os.Args[0])]
	if !found {
		if len(os.Args) < 2 {
			usage()
		}
		os.Args = os.Args[1:]
		run, found = programs[os.Args[0]]
	}
	if !found {
		usage()
	}
	os.Exit(run())
}

func usage() {
	names := make([]string, 0, len(programs))
	for name := range programs {
		names = append(names, name)
	}
	slices.Sort(names)
	fmt.Fprintf(os.Stderr, "usage: cluster PROGRAM [ARGUMENT…]\nprograms: %s\n", strings.Join(names, ", "))
	os.Exit(2)
}
