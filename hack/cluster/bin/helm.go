package main

import (
	"errors"
	"fmt"
	"os"

	helmcmd "helm.sh/helm/v4/pkg/cmd"
)

func helm() int {
	root, err := helmcmd.NewRootCmd(os.Stdout, os.Args[1:], helmcmd.SetupLogging)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	err = root.Execute() // prints its own errors
	var coded helmcmd.CommandError
	if errors.As(err, &coded) {
		return coded.ExitCode
	}
	if err != nil {
		return 1
	}
	return 0
}
