package serving

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// forLoopback reports whether a request is for this machine's loopback. A page
// in the user's browser can have its own name resolve to 127.0.0.1 (DNS
// rebinding), and would then read and publish as if it came from here.
func forLoopback(r *http.Request) bool {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	} else {
		host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	}
	return IsLoopback(host)
}

// IsLoopback reports whether a host, without a port, says by itself that it is this machine's loopback.
func IsLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && address.IsLoopback()
}
