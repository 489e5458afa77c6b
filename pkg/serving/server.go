package serving

import "net/http"

// NewServer returns a server for the handler with this package's limits. It
// has no ReadTimeout and no WriteTimeout, which bound whole requests: the
// handler ends a body or an answer that has stood still for StallTimeout. The
// caller sets Addr, TLSConfig and ErrorLog, and owns its life; end Options.Context
// before Shutdown, which waits for event streams otherwise.
//
// It speaks HTTP/1.1 only. What a client has sent of a body that nobody reads yet
// then waits in the kernel, and not, as up to 1 MiB for each connection of
// HTTP/2, in the process; and whoever bounds connections bounds requests.
func NewServer(handler http.Handler) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Server{
		Protocols:         protocols,
		Handler:           handler,
		ReadHeaderTimeout: ReadHeaderTimeout,
		IdleTimeout:       IdleTimeout,
		MaxHeaderBytes:    MaxHeaderBytes,
	}
}
