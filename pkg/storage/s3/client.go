package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

const (
	// Each connection has both buffers as long as it lives, and there may be
	// maxConnections. Bodies bypass the write buffer, 32 KiB at a time, so it
	// needs room only for the header of a request and the 4 KiB of a small blob,
	// for one system call. Answers bypass the read buffer if the reader asks for
	// at least as much, as the registry does. Measured on loopback with reads of
	// 8 KiB: 4 KiB (the default) cost half of the CPU that 64 KiB save, 32 KiB a
	// quarter.
	writeBuffer = 8 << 10
	readBuffer  = 32 << 10
	// idleConnections is how many connections are kept for later requests.
	idleConnections = 64
	// sessions of TLS that are kept: the server's, and that of an https proxy.
	sessions = 2
)

// newClient returns an SDK client that works with every known server: no trailing
// checksums (WhenRequired), no reading of the environment or of files, no redirects
// (they would send the signature elsewhere).
func newClient(config Config) (*s3.Client, func(), error) {
	// Only this client resumes its TLS sessions, and its trust does not change:
	// certificates are half the cost of the handshake of a probe each minute.
	trust := &tls.Config{MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(sessions)}
	if len(config.CABundle) > 0 {
		trust.RootCAs = x509.NewCertPool()
		trust.RootCAs.AppendCertsFromPEM(config.CABundle)
	}
	proxy := proxyFromEnvironment()
	dialer := &net.Dialer{Timeout: min(config.RequestTimeout, 10*time.Second), KeepAlive: 30 * time.Second}
	transport := &http.Transport{
		Proxy:                  proxy.of,
		OnProxyConnectResponse: proxyConnected,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &stallConn{conn, config.RequestTimeout}, nil
		},
		TLSClientConfig:       trust,
		TLSHandshakeTimeout:   min(config.RequestTimeout, 10*time.Second),
		ResponseHeaderTimeout: 0, // stallConn limits it, and lets requests continue that make progress
		MaxConnsPerHost:       config.MaxConnections,
		MaxIdleConnsPerHost:   min(idleConnections, config.MaxConnections),
		// Well before stallConn would end them under a new request.
		IdleConnTimeout: min(config.RequestTimeout/2, time.Minute),
		WriteBufferSize: writeBuffer,
		ReadBufferSize:  readBuffer,
		// HTTP/2 would send all parts over one connection.
		TLSNextProto:       map[string]func(string, *tls.Conn) http.RoundTripper{},
		DisableCompression: true,
	}
	options := s3.Options{
		Region:       config.Region,
		UsePathStyle: *config.ForcePathStyle,
		Credentials:  credentials(config),
		HTTPClient: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
		// Bodies are at most a part long, and whatever would refuse a part has
		// refused the request that began the upload.
		ContinueHeaderThresholdBytes: -1,
		Logger:                       logging.Nop{},
		Retryer:                      aws.NopRetryer{}, // Backend.try retries
		APIOptions:                   []func(*middleware.Stack) error{unsignedEncoding, proxy.keepRefusals, refusePages},
	}
	if config.EndpointURL != "" {
		options.BaseEndpoint = &config.EndpointURL
	}
	return s3.New(options), transport.CloseIdleConnections, nil
}

// stallConn ends when nothing moved for the timeout, in whichever direction a
// request is: a server that was stopped keeps its connections open forever.
type stallConn struct {
	net.Conn
	timeout time.Duration
}

func (c *stallConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// Write also extends the deadline of the Read that waits for the answer.
func (c *stallConn) Write(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// unsignedEncoding keeps Accept-Encoding, which many proxies rewrite, out of the
// signature: the request has none until it is signed.
func unsignedEncoding(stack *middleware.Stack) error {
	changed := func(name string, change func(http.Header)) middleware.FinalizeMiddleware {
		return middleware.FinalizeMiddlewareFunc(name, func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
			if request, is := in.Request.(*smithyhttp.Request); is {
				change(request.Header)
			}
			return next.HandleFinalize(ctx, in)
		})
	}
	const encoding, signing = "Accept-Encoding", "Signing"
	without := changed("TakeEncoding", func(header http.Header) { header.Del(encoding) })
	// Without the header a server could compress what it sends.
	with := changed("GiveEncoding", func(header http.Header) { header.Set(encoding, "identity") })
	if err := stack.Finalize.Insert(without, signing, middleware.Before); err != nil {
		return err
	}
	return stack.Finalize.Insert(with, signing, middleware.After)
}

// payloadHash makes the signer use a known hash instead of reading the body again.
type payloadHash string

// unsigned leaves the body out of the signature. A checksum header, which the
// signature covers, then protects the body.
const unsigned payloadHash = "UNSIGNED-PAYLOAD"

func (payloadHash) ID() string { return (&v4.ComputePayloadSHA256{}).ID() }

func (h payloadHash) HandleFinalize(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
	return next.HandleFinalize(v4.SetPayloadHash(ctx, string(h)), in)
}

// option applies the hash to one call of the client.
func (h payloadHash) option(o *s3.Options) {
	o.APIOptions = append(o.APIOptions[:len(o.APIOptions):len(o.APIOptions)], func(stack *middleware.Stack) error {
		_, err := stack.Finalize.Swap(h.ID(), h)
		return err
	})
}
