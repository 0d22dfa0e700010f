"""The demonstration's and the cluster's modules can be imported by the tests of programs that use them."""

import proofs.places
