package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/coulomb/artifact-store/pkg/serving"
)

// server answers requests at one or two addresses.
type server struct {
	options     options
	logger      *slog.Logger
	connections *serving.Connections // at --listen
	registry    http.Handler         // at --listen
	health      http.Handler         // at --metrics-listen
	// endStreams ends answers without an end of their own.
	endStreams func()
}

// run answers requests until ctx ends or the control plane fails, and then lets running
// requests finish. The order of shutdown: not ready, and connections are asked to close
// (both by ctx); after --shutdown-delay no new requests; after --drain-timeout none at
// all; the second address closes last.
func (s *server) run(ctx context.Context, metrics prometheus.Registerer, failed <-chan error) error {
	o, logger := s.options, s.logger
	certificate, err := openCertificate(o, logger, metrics)
	if err != nil {
		return err
	}
	defer certificate.close()
	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	ended := make(chan error, 3)
	main := s.start(listener, s.connections, s.registry, certificate.config, ended)
	defer main.Close() //nolint:errcheck // an error is about the listener, which is closed
	logger.Info("serving", "url", scheme(o)+listener.Addr().String(), "mode", mode(o))
	for _, beside := range []struct {
		flag, address, what string
		handler             http.Handler
	}{{"metrics-listen", o.metricsListen, "health and metrics", s.health}, {"profile-listen", o.profileListen, "profiles", profiles()}} {
		if beside.address == "" {
			continue
		}
		listener, err := net.Listen("tcp", beside.address)
		if err != nil {
			return fmt.Errorf("--%s: %w", beside.flag, err)
		}
		server := s.start(listener, nil, beside.handler, nil, ended)
		defer server.Close() //nolint:errcheck // as above
		logger.Info("serving "+beside.what, "url", "http://"+listener.Addr().String())
	}

	select {
	case err := <-ended:
		return fmt.Errorf("serve: %w", err)
	case err = <-failed:
	case <-ctx.Done():
		if err := s.linger(ended); err != nil {
			return fmt.Errorf("serve: %w", err)
		}
	}
	logger.Info("draining", "timeout", o.drainTimeout.String())
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.drainTimeout)
	defer cancel()
	s.endStreams()
	if main.Shutdown(drain) != nil {
		logger.Warn("running requests were interrupted; their clients can resume them")
	}
	logger.Info("stopped")
	return err
}

func (s *server) start(listener net.Listener, connections *serving.Connections, handler http.Handler, config *tls.Config, ended chan<- error) *http.Server {
	started := serving.NewServer(handler)
	if connections != nil {
		listener = connections.Limit(started, listener)
	}
	started.ErrorLog = slog.NewLogLogger(s.logger.Handler(), slog.LevelWarn)
	started.TLSConfig = config
	go func() {
		err := error(nil)
		if config == nil {
			err = started.Serve(listener)
		} else {
			err = started.ServeTLS(listener, "", "")
		}
		if !errors.Is(err, http.ErrServerClosed) {
			ended <- err
		}
	}()
	return started
}

// linger keeps serving for --shutdown-delay.
func (s *server) linger(ended <-chan error) error {
	if s.options.shutdownDelay == 0 {
		return nil
	}
	s.logger.Info("not ready; new requests are still accepted for a while", "delay", s.options.shutdownDelay.String())
	select {
	case err := <-ended:
		return err
	case <-time.After(s.options.shutdownDelay):
		return nil
	}
}

func scheme(o options) string {
	if o.tlsCertFile != "" {
		return "https://"
	}
	return "http://"
}

// checkProfileListen wants an address that only this machine reaches: profiles tell what
// is in memory.
func checkProfileListen(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("--profile-listen: %q must be host:port", address)
	}
	if !serving.IsLoopback(host) {
		return fmt.Errorf("--profile-listen: %q must be of this machine's loopback, such as 127.0.0.1:6060", address)
	}
	return nil
}

// profiles serves the profiles of the running program, as go tool pprof reads them.
func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !serving.ForLoopback(r) || serving.FromOtherSite(r, true) {
			http.Error(w, "only this machine may ask, and no page of another site", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}
