package httpapi

import "net/http"

// NewServer returns a server for the handler with this package's limits. It
// has no ReadTimeout and no WriteTimeout, which bound whole requests: the
// handler ends a body or an answer that has stood still for StallTimeout. The
// caller sets Addr, TLSConfig and ErrorLog, and owns its life; end Options.Context
// before Shutdown, which waits for event streams otherwise.
func NewServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: ReadHeaderTimeout,
		IdleTimeout:       IdleTimeout,
		MaxHeaderBytes:    MaxHeaderBytes,
	}
}
