package serving

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// forLoopback reports whether a request is for this machine's loopback. A web
// page can have its own name resolve to 127.0.0.1 (DNS rebinding), and would
// then read and publish from the user's browser as if it were local.
func forLoopback(r *http.Request) bool {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	} else {
		host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	}
	return IsLoopback(host)
}

// IsLoopback reports whether a host, without a port, is this machine's loopback without being resolved.
func IsLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && address.IsLoopback()
}
