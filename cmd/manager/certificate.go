package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
)

// certificate is the one that --tls-cert-file and --tls-key-file hold now.
type certificate struct {
	config *tls.Config // nil without the flags
	close  func()
}

// openCertificate reads the certificate and watches its files. A pair that does
// not hold (half of it written, say) is logged, and the one before serves on:
// each is looked at again when it changes, and every 10 s.
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
	watcher, err := certwatcher.New(o.tlsCertFile, o.tlsKeyFile)
	if err != nil {
		return certificate{}, fmt.Errorf("--tls-cert-file, --tls-key-file: %w", err)
	}
	watcher.RegisterCallback(func(now tls.Certificate) {
		expiry.Set(float64(now.Leaf.NotAfter.Unix()))
		logger.Info("serving with a certificate", "names", now.Leaf.DNSNames, "until", now.Leaf.NotAfter)
	})
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() {
		if err := watcher.Start(ctx); err != nil {
			logger.Error("the certificate is not watched any more: it changes when the manager is started again", "error", err)
		}
	})
	return certificate{
		config: &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: watcher.GetCertificate},
		close:  func() { cancel(); watching.Wait() },
	}, nil
}
