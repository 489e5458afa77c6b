// Package diagnose says in plain words why a registry cannot be talked to: what
// was tried, where the address and the token come from, and what to do.
package diagnose

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/coulomb/artifact-store/cmd/artifactstore/credentials"
	"github.com/coulomb/artifact-store/pkg/client"
)

// Place is what a command was to talk to.
type Place struct {
	// Server is its address, and From where that was taken, such as "--server".
	Server, From string
	// TokenFrom says where the token was taken, "" if there is none.
	TokenFrom string
	// Token says when it is valid, if it says so.
	Token *credentials.Times
	// Renew is the command that gets another token, "" if none does.
	Renew string
	// CAFile is the file of authorities, "" for the system's.
	CAFile string
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Explain returns err with an explanation, or err itself if there is none. It may
// connect to the server once more to find out what that speaks, and sends nothing.
func Explain(ctx context.Context, err error, p Place) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if p.Now == nil {
		p.Now = time.Now
	}
	address, parseErr := url.Parse(p.Server)
	if parseErr != nil || address.Host == "" {
		return err
	}
	var remote *client.RemoteError
	if errors.As(err, &remote) {
		return p.explainAnswer(ctx, err, remote, address)
	}
	if explained := p.explainConnection(ctx, err, address); explained != "" {
		return &explainedError{explained, err}
	}
	return err
}

// explainedError has other words, and is still what it explains.
type explainedError struct {
	words string
	err   error
}

func (e *explainedError) Error() string { return e.words }
func (e *explainedError) Unwrap() error { return e.err }

// where says which address it is and who named it.
func (p Place) where() string { return p.Server + " (" + p.From + ")" }

// explainConnection explains why there was no answer; "" if it does not know.
func (p Place) explainConnection(ctx context.Context, err error, address *url.URL) string {
	var asked *url.Error
	if !errors.As(err, &asked) || !strings.HasPrefix(asked.URL, strings.TrimRight(p.Server, "/")) {
		return "" // it is about something else, such as a file or a bucket
	}
	if words := p.explainProxy(err, address); words != "" {
		return words
	}
	if errors.Is(err, http.ErrSchemeMismatch) {
		return fmt.Sprintf("%s speaks http: use http://%s", p.where(), address.Host+address.Path)
	}
	if words := p.explainCertificate(err, address); words != "" {
		return words
	}
	if words := p.explainDial(err, address); words != "" {
		return words
	}
	var record tls.RecordHeaderError
	if errors.As(err, &record) {
		return p.where() + " does not speak TLS: it is another server"
	}
	if address.Scheme == "http" && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || strings.Contains(err.Error(), "malformed HTTP")) {
		if speaksTLS(ctx, address) {
			return p.useHTTPS(address)
		}
		if strings.Contains(err.Error(), "malformed HTTP") {
			return p.where() + " does not speak HTTP: it is another server"
		}
	}
	return ""
}

func (p Place) useHTTPS(address *url.URL) string {
	return fmt.Sprintf("%s speaks https: use https://%s", p.where(), address.Host+address.Path)
}

// explainDial explains why there is no connection.
func (p Place) explainDial(err error, address *url.URL) string {
	var unknown *net.DNSError
	var op *net.OpError
	at := hostPort(address) + " (" + p.From + ")"
	switch {
	case errors.As(err, &unknown) && unknown.IsNotFound:
		return fmt.Sprintf("there is no host %s: check the address %s", unknown.Name, p.where())
	case errors.As(err, &unknown):
		return fmt.Sprintf("the host %s of %s cannot be looked up now: %s", unknown.Name, p.where(), unknown.Err)
	case !errors.As(err, &op) || op.Op != "dial":
		return ""
	case errors.Is(err, syscall.ECONNREFUSED) || strings.Contains(err.Error(), "refused"):
		return fmt.Sprintf("nobody listens at %s: start the registry, or name another with --server or artifactstore login: connection refused", at)
	case op.Timeout():
		return fmt.Sprintf("%s does not answer: timeout; the host may be down, or a firewall in between", at)
	}
	return fmt.Sprintf("%s cannot be reached: %v", at, op.Err)
}

func hostPort(address *url.URL) string {
	port := address.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[address.Scheme]
	}
	return net.JoinHostPort(address.Hostname(), port)
}

// explainCertificate explains why the server's certificate is not trusted.
func (p Place) explainCertificate(err error, address *url.URL) string {
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &authority):
		if p.CAFile != "" {
			return fmt.Sprintf("%s: its certificate is signed by none of the authorities in %s: it may be the file of another registry", p.where(), p.CAFile)
		}
		signer := ""
		if authority.Cert != nil {
			signer = fmt.Sprintf(", %q,", authority.Cert.Issuer.String())
		}
		return fmt.Sprintf("%s: its certificate is signed by an authority%s that this machine does not know: get the authority's certificate from whoever runs the registry and name it with --ca-file", p.where(), signer)
	case errors.As(err, &host):
		names := append([]string{}, host.Certificate.DNSNames...)
		for _, ip := range host.Certificate.IPAddresses {
			names = append(names, ip.String())
		}
		if len(names) == 0 {
			return fmt.Sprintf("%s: its certificate is for no name at all", p.where())
		}
		const most = 5
		return fmt.Sprintf("%s: its certificate is not for %s: use %s", p.where(), host.Host, strings.Join(names[:min(len(names), most)], " or "))
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil:
		now := p.Now()
		if now.Before(invalid.Cert.NotBefore) {
			return fmt.Sprintf("%s: its certificate is not valid before %s, and the clock of this machine says %s: set the clock if it is wrong", p.where(), moment(invalid.Cert.NotBefore), moment(now))
		}
		return fmt.Sprintf("%s: its certificate expired at %s, and the clock of this machine says %s: whoever runs the registry must renew it, unless this clock is wrong", p.where(), moment(invalid.Cert.NotAfter), moment(now))
	}
	var verification *tls.CertificateVerificationError
	if errors.As(err, &verification) {
		return fmt.Sprintf("%s: its certificate is not accepted: %v", p.where(), verification.Err)
	}
	return ""
}

func moment(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// explainProxy explains what a proxy of the environment did.
func (p Place) explainProxy(err error, address *url.URL) string {
	var refused *client.ProxyError
	var op *net.OpError
	switch {
	case errors.As(err, &refused):
		if refused.Status == http.StatusProxyAuthRequired {
			return p.proxyWantsCredentials(address)
		}
		return fmt.Sprintf("%v, asked for %s: %s=%s goes around it", refused, p.where(), "NO_PROXY", address.Hostname())
	case errors.As(err, &op) && op.Op == "proxyconnect":
		return fmt.Sprintf("the proxy %s (%s) cannot be reached: %v; NO_PROXY=%s goes around it", proxyOf(address), proxyVariable(address), op.Err, address.Hostname())
	}
	return ""
}

func (p Place) proxyWantsCredentials(address *url.URL) string {
	return fmt.Sprintf("the proxy %s (%s) wants credentials (407): put them into %s as http://user:password@host:port, or go around it with NO_PROXY=%s",
		proxyOf(address), proxyVariable(address), proxyVariable(address), address.Hostname())
}

// proxyOf is the proxy's address, without a password.
func proxyOf(address *url.URL) string {
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: address})
	if err != nil || proxy == nil {
		return "on the way"
	}
	proxy = &url.URL{Scheme: proxy.Scheme, Host: proxy.Host}
	return proxy.String()
}

func proxyVariable(address *url.URL) string { return strings.ToUpper(address.Scheme) + "_PROXY" }

// probeTimeout bounds the question whether a server speaks TLS.
const probeTimeout = 10 * time.Second

// speaksTLS begins a handshake. Whether the certificate is right is another question.
func speaksTLS(ctx context.Context, address *url.URL) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTimeout)
	defer cancel()
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, ServerName: address.Hostname()}} //nolint:gosec // nothing is sent
	connection, err := dialer.DialContext(ctx, "tcp", hostPort(address))
	if err != nil {
		return false
	}
	connection.Close() //nolint:errcheck // nothing was sent
	return true
}
