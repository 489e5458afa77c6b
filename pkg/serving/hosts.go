package serving

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// ForLoopback reports whether a request is for this machine's loopback. A web
// page can have its own name resolve to 127.0.0.1 (DNS rebinding), and would
// then read and publish from the user's browser as if it were local.
func ForLoopback(r *http.Request) bool {
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

// crossOrigin recognizes requests with effects that a web page of another
// origin has a browser send, by Sec-Fetch-Site or else Origin. Other clients send neither.
var crossOrigin = http.NewCrossOriginProtection()

// FromOtherSite reports whether a web page of another site sends the request.
// It would act with what the browser has: the loopback address, or a password
// that was typed once. Following a link is no such request. Reading what it
// cannot see is refused on loopback only, where it could keep streams open.
func FromOtherSite(r *http.Request, loopback bool) bool {
	if crossOrigin.Check(r) != nil {
		return true
	}
	site := r.Header.Get("Sec-Fetch-Site")
	return loopback && (site == "cross-site" || site == "same-site") && r.Header.Get("Sec-Fetch-Mode") != "navigate"
}
