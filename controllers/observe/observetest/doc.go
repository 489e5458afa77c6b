// Package observetest has what tests of an Observer put around it: a registrar
// without a log, and a cable to a place that can be cut.
package observetest
