package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestPlaces runs scripts against servers that are not a registry, or cannot be
// reached as one.
func TestPlaces(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/places",
		RequireExplicitExec: true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "serve": serve, "jwt": jwt},
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir+"/home")
			env.Setenv(retryForEnv, "0s") // nothing becomes right by waiting
			return nil
		},
	})
}

// answers of the servers that serve starts.
var answers = map[string]http.HandlerFunc{
	// One that knows nobody's token but "good", as a registry would, and one that
	// takes any.
	"registry": func(w http.ResponseWriter, r *http.Request) {
		answer(w, r.Header.Get("Authorization") == "Bearer good")
	},
	"anybody": func(w http.ResponseWriter, r *http.Request) { answer(w, r.Header.Get("Authorization") != "") },
	"page": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, "<html>Welcome to nginx!</html>")
	},
	"page-404": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, "<html>404</html>")
	},
	"sso": func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://sso.example.com/login?state=secret", http.StatusFound)
	},
	"proxy": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Proxy-Authenticate", "Basic")
		w.WriteHeader(http.StatusProxyAuthRequired)
	},
	"other": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no such bucket", http.StatusNotFound) },
}

func answer(w http.ResponseWriter, known bool) {
	w.Header().Set("X-Request-Id", "1")
	if !known {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"type":"https://artifactstore.dev/problems/unauthenticated","title":"Authentication failed","detail":"the token is unknown"}`)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, `{"name":"ci","groups":["builders"],"authenticated":true,"permissions":[],"complete":false,"packages":[]}`)
}

// serve KIND VARIABLE starts a server of answers and sets the variable to its
// host:port. With https:NAME:FROM:UNTIL as the third argument it speaks https, with a
// certificate for the name that is valid between these times from now, and is in
// VARIABLE.pem. The kind banner is a server that does not speak HTTP.
func serve(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: serve KIND VARIABLE [NAME FROM UNTIL]")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { listener.Close() })
	ts.Setenv(args[1], listener.Addr().String())
	if args[0] == "banner" {
		go func() {
			for {
				connection, err := listener.Accept()
				if err != nil {
					return
				}
				// What is not read would reset the connection before its banner arrives.
				_, _ = connection.Read(make([]byte, 64<<10))
				fmt.Fprint(connection, "SSH-2.0-OpenSSH_9.2\r\n")
				connection.Close()
			}
		}()
		return
	}
	handler, known := answers[args[0]]
	if !known {
		ts.Fatalf("%s is not in answers", args[0])
	}
	server := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute}
	ts.Defer(func() { server.Close() })
	if len(args) == 2 {
		go server.Serve(listener) //nolint:errcheck // ErrServerClosed
		return
	}
	from, err := time.ParseDuration(args[3])
	ts.Check(err)
	until, err := time.ParseDuration(args[4])
	ts.Check(err)
	certificate, text, err := certificateFor(args[2], time.Now().Add(from), time.Now().Add(until))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]+".pem"), text, 0o600))
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	go server.ServeTLS(listener, "", "") //nolint:errcheck // ErrServerClosed
}

func certificateFor(name string, from, until time.Time) (tls.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: from, NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	made, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{made}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: made}), err
}

// jwt FILE FROM UNTIL writes a token that says that it is valid between these times
// from now. Nobody has signed it.
func jwt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: jwt FILE FROM UNTIL")
	}
	from, err := time.ParseDuration(args[1])
	ts.Check(err)
	until, err := time.ParseDuration(args[2])
	ts.Check(err)
	encode := base64.RawURLEncoding.EncodeToString
	now := time.Now()
	claims := fmt.Sprintf(`{"nbf":%d,"exp":%d}`, now.Add(from).Unix(), now.Add(until).Unix())
	token := encode([]byte(`{"alg":"none"}`)) + "." + encode([]byte(claims)) + "." + encode([]byte("secret-signature"))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(token+"\n"), 0o600))
}
