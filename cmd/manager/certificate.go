package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	certmetrics "sigs.k8s.io/controller-runtime/pkg/certwatcher/metrics"

	"github.com/coulomb/artifact-store/pkg/filewatch"
	"github.com/coulomb/artifact-store/pkg/regular"
)

// certificate is the current content of --tls-cert-file and --tls-key-file.
type certificate struct {
	config *tls.Config // nil without the flags
	close  func()
}

// openCertificate reads the certificate and follows its files. An invalid pair
// (half of it written, say) is logged and the previous one stays in use.
func openCertificate(o options, logger *slog.Logger, metrics prometheus.Registerer) (certificate, error) {
	expiry := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "artifactstore_tls_certificate_expiry_timestamp_seconds", Help: "When the certificate that is served expires, in seconds since 1970; 0 without one.",
	})
	if err := metrics.Register(expiry); err != nil {
		return certificate{}, err
	}
	if o.tlsCertFile == "" {
		return certificate{close: func() {}}, nil
	}
	var current atomic.Pointer[tls.Certificate]
	files, err := filewatch.Open(func() []string { return []string{o.tlsCertFile, o.tlsKeyFile} }, func() error {
		// The names that controller-runtime's own watcher counts under: dashboards know them.
		certmetrics.ReadCertificateTotal.Inc()
		pair, err := readPair(o.tlsCertFile, o.tlsKeyFile)
		if err != nil {
			certmetrics.ReadCertificateErrors.Inc()
			return err
		}
		current.Store(&pair)
		expiry.Set(float64(pair.Leaf.NotAfter.Unix()))
		logger.Info("serving with a certificate", "names", pair.Leaf.DNSNames, "until", pair.Leaf.NotAfter)
		return nil
	})
	if err != nil {
		return certificate{}, fmt.Errorf("--tls-cert-file, --tls-key-file: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() {
		files.Run(ctx, func(err error) {
			logger.Error("the new certificate or key is invalid; the previous pair stays in use", "error", err)
		})
	})
	return certificate{
		config: &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return current.Load(), nil
		}},
		close: func() { cancel(); watching.Wait() },
	}, nil
}

// maxPEM bounds a file of a certificate or key, in bytes.
const maxPEM = 1 << 20

func readPair(certFile, keyFile string) (tls.Certificate, error) {
	cert, err := regular.Read(certFile, maxPEM)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := regular.Read(keyFile, maxPEM)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(cert, key)
}
