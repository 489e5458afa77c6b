package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"

	"github.com/coulomb/artifact-store/pkg/serving"
)

// checkProfileListen wants an address that only this machine reaches: profiles tell what
// is in memory.
func checkProfileListen(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("--profile-listen: %q must be host:port", address)
	}
	if !serving.IsLoopback(host) {
		return fmt.Errorf("--profile-listen: %q must be of this machine's loopback, such as 127.0.0.1:6060", address)
	}
	return nil
}

// profiles serves the profiles of the running program, as go tool pprof reads them.
func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !serving.ForLoopback(r) {
			http.Error(w, "the Host must be this machine's loopback", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}
