package serving

import "net/http"

// NewServer returns a server for the handler with this package's limits. It
// has no ReadTimeout and no WriteTimeout, which limit whole requests: the
// handler ends a body or an answer that has not moved for StallTimeout. The
// caller sets Addr, TLSConfig and ErrorLog, and starts and stops it. Streams
// must be ended before Shutdown, which waits for them.
//
// It speaks HTTP/1.1 only. The bytes of a body that is not read yet then wait
// in the kernel; with HTTP/2 they would take up to 1 MiB of the process for
// each connection. And a limit on connections is a limit on requests.
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
