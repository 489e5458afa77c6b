package httpapi

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// checkHost refuses requests for other hosts than this machine's loopback: a
// page in the user's browser can have its own name resolve to 127.0.0.1 (DNS
// rebinding), and would then read and publish as if it came from here.
func checkHost(r *http.Request) error {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	} else {
		host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	}
	if isLoopback(host) {
		return nil
	}
	return problemHost.problem("this server answers on its own machine only", FieldError{"Host", "must be localhost, an address of 127.0.0.0/8 or [::1]"})
}

// isLoopback reports whether a host, without a port, is this machine's loopback by its own words.
func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && address.IsLoopback()
}
