package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/coulomb/artifact-store/controllers/cronjobs"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/serving"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
)

// options are the flags, validated and completed.
type options struct {
	configDir, dataDir, localRoot string
	listen, metricsListen         string
	profileListen                 string
	tlsCertFile, tlsKeyFile       string
	database                      string
	namespace, kubeconfig         string
	leaderElect                   bool
	tokenFile, tokenAudience      string
	allowAnonymous                bool
	allowAmbient                  bool
	image, verifyServer           string
	verifyCA                      *cronjobs.CASource
	bufferBytes                   int64
	maxConnections                int
	requestsPerSecond             float64
	uploadLifetime                time.Duration
	shutdownDelay, drainTimeout   time.Duration
	logFormat                     string
	logLevel                      slog.Level
}

const (
	// podNamespaceFile is where Kubernetes stores a pod's namespace.
	podNamespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
	// leastBuffer is the memory for one upload of the largest part (64 MiB).
	leastBuffer = 2 * buffer.DefaultEach
	// defaultConnections: each uses up to 64 KiB in addition to --buffer-bytes
	// during an upload, 64 MiB in total.
	defaultConnections = 1024
	// defaultAudience of ServiceAccount tokens.
	defaultAudience = "artifact-store"
)

// parse reads the flags; getenv supplies the defaults that come from the environment.
func parse(args []string, getenv func(string) string, output io.Writer) (options, error) {
	var o options
	set := flag.NewFlagSet("manager", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.StringVar(&o.configDir, "config-dir", "", "read StorageBackends and RoutingPolicies from the YAML files in this `folder` instead of from Kubernetes")
	set.StringVar(&o.dataDir, "data-dir", "data", "`folder` of the SQLite database and of local backends with relative paths")
	set.StringVar(&o.localRoot, "local-root", "", "`folder` that must contain every local backend (default: the data folder with --config-dir; in a cluster local backends are refused without it)")
	set.StringVar(&o.listen, "listen", "127.0.0.1:8080", "`address` to serve at; port 0 takes a free one")
	set.StringVar(&o.metricsListen, "metrics-listen", "", "second `address`, plain http, for /livez, /readyz and /metrics; /metrics is then not at --listen")
	set.StringVar(&o.profileListen, "profile-listen", "", "`address` on this machine's loopback for profiles of the running program (/debug/pprof/, for go tool pprof); none by default")
	set.StringVar(&o.tlsCertFile, "tls-cert-file", "", "PEM `file` of the certificate and its chain; enables https; reread when it changes")
	set.StringVar(&o.tlsKeyFile, "tls-key-file", "", "PEM `file` of the certificate's private key")
	set.StringVar(&o.database, "database", "", "sqlite:///path or postgres://… `URL`; prefer ARTIFACTSTORE_DATABASE, which does not appear in the process list (default: registry.db in the data folder)")
	set.StringVar(&o.namespace, "namespace", "", "Kubernetes `namespace` to follow (default: POD_NAMESPACE, or the pod's own)")
	set.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig `file` (default: KUBECONFIG, or the pod's own account)")
	set.BoolVar(&o.leaderElect, "leader-elect", false, "only one of several replicas probes and writes statuses; requires PostgreSQL")
	set.StringVar(&o.tokenFile, "token-file", "", "`file` of static tokens and their permissions; only with --config-dir")
	set.StringVar(&o.tokenAudience, "token-audience", defaultAudience, "required `audience` of ServiceAccount tokens, in a cluster")
	set.BoolVar(&o.allowAnonymous, "allow-anonymous", false, "disable authentication and authorization, on any address")
	set.BoolVar(&o.allowAmbient, "allow-ambient-credentials", false, "S3 backends without keys use the manager's own credentials (environment, web identity)")
	set.StringVar(&o.image, "image", "", "`image` of the pods that verify; contains /usr/local/bin/artifactstore (default: ARTIFACTSTORE_IMAGE; without an image no pod is started)")
	set.StringVar(&o.verifyServer, "verify-server", "", "`URL` of the registry for the pods that verify (default: the Service artifact-store in the namespace, https with --tls-cert-file)")
	set.Func("verify-ca", "`secret/NAME/KEY` or configmap/NAME/KEY with the certificates that these pods trust; empty: those in the image", func(text string) (err error) {
		o.verifyCA, err = cronjobs.ParseCASource(text)
		return err
	})
	set.Int64Var(&o.bufferBytes, "buffer-bytes", buffer.DefaultTotal, "memory for uploads in progress, in `bytes`; further uploads wait")
	set.IntVar(&o.maxConnections, "max-connections", defaultConnections, "maximum number of connections served at --listen; further ones wait")
	set.Float64Var(&o.requestsPerSecond, "requests-per-second", 0, "maximum `rate` of requests of one holder of a token, twice as many at once; further ones are refused (429); 0: no limit")
	set.DurationVar(&o.uploadLifetime, "upload-lifetime", registry.UploadLifetime, "how long an upload session stays open after its last change")
	set.DurationVar(&o.shutdownDelay, "shutdown-delay", 0, "how long new requests are still accepted after SIGTERM, while /readyz already answers 503; load balancers need time to notice")
	set.DurationVar(&o.drainTimeout, "drain-timeout", 25*time.Second, "how long running requests may continue after SIGTERM and --shutdown-delay")
	set.StringVar(&o.logFormat, "log-format", "text", "text or json")
	set.TextVar(&o.logLevel, "log-level", slog.LevelInfo, "DEBUG, INFO, WARN or ERROR")
	err := set.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(output, "Usage: manager [flags]")
		set.SetOutput(output)
		set.PrintDefaults()
		printVerbs(output)
		return o, err
	}
	if err == nil && set.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", set.Arg(0))
	}
	if err == nil {
		// Not as defaults of the flags, because --help prints those.
		o.database = cmp.Or(o.database, getenv(databaseEnv))
		o.namespace = cmp.Or(o.namespace, getenv("POD_NAMESPACE"))
		o.image = cmp.Or(o.image, getenv("ARTIFACTSTORE_IMAGE"))
		err = o.complete()
	}
	return o, err
}

// complete validates the flags and fills in those that depend on others.
func (o *options) complete() error {
	var err error
	for _, dir := range []struct {
		flag string
		path *string
	}{{"config-dir", &o.configDir}, {"data-dir", &o.dataDir}, {"local-root", &o.localRoot}} {
		if *dir.path != "" {
			if *dir.path, err = filepath.Abs(*dir.path); err != nil {
				return fmt.Errorf("--%s: %w", dir.flag, err)
			}
		}
	}
	switch {
	case o.dataDir == "":
		return errors.New("--data-dir: must not be empty")
	case o.logFormat != "text" && o.logFormat != "json":
		return fmt.Errorf("--log-format: %q must be text or json", o.logFormat)
	case o.bufferBytes < leastBuffer:
		return fmt.Errorf("--buffer-bytes: must be at least %d, is %d", leastBuffer, o.bufferBytes)
	case o.maxConnections < 1:
		return fmt.Errorf("--max-connections: must be at least 1, is %d", o.maxConnections)
	case !(o.requestsPerSecond >= 0 && o.requestsPerSecond <= 1e6):
		return fmt.Errorf("--requests-per-second: must be 0 to 1000000, is %g", o.requestsPerSecond)
	case o.uploadLifetime < time.Minute:
		return fmt.Errorf("--upload-lifetime: must be at least 1m, is %s", o.uploadLifetime)
	case o.shutdownDelay < 0:
		return fmt.Errorf("--shutdown-delay: must not be negative, is %s", o.shutdownDelay)
	case o.drainTimeout < 0:
		return fmt.Errorf("--drain-timeout: must not be negative, is %s", o.drainTimeout)
	case (o.tlsCertFile == "") != (o.tlsKeyFile == ""):
		return errors.New("--tls-cert-file and --tls-key-file: set both or neither")
	}
	if o.profileListen != "" {
		if err := checkProfileListen(o.profileListen); err != nil {
			return err
		}
	}
	if o.metricsListen != "" {
		if _, _, err := net.SplitHostPort(o.metricsListen); err != nil {
			return fmt.Errorf("--metrics-listen: %q must be host:port", o.metricsListen)
		}
	}
	if err := o.checkAccess(); err != nil {
		return err
	}
	if o.database == "" {
		o.database = "sqlite://" + (&url.URL{Path: filepath.Join(o.dataDir, "registry.db")}).EscapedPath()
	}
	if o.configDir != "" {
		return o.completeEmbedded()
	}
	return o.completeCluster()
}

func (o *options) completeEmbedded() error {
	if info, err := os.Stat(o.configDir); err != nil || !info.IsDir() {
		return fmt.Errorf("--config-dir: %s: not a folder", o.configDir)
	}
	if o.leaderElect {
		return errors.New("--leader-elect: cannot be used with --config-dir, which has a single replica")
	}
	if o.localRoot == "" {
		o.localRoot = o.dataDir
	}
	return nil
}

func (o *options) completeCluster() error {
	if o.leaderElect && o.sqlite() {
		return errors.New("--leader-elect: SQLite serves only one process: set --database to a postgres:// URL")
	}
	if o.namespace == "" {
		content, err := os.ReadFile(podNamespaceFile)
		if o.namespace = strings.TrimSpace(string(content)); err != nil || o.namespace == "" {
			return errors.New("--namespace: required outside a pod (or set --config-dir to run without Kubernetes)")
		}
	}
	if o.verifyServer == "" {
		scheme := "http"
		if o.tlsCertFile != "" {
			scheme = "https"
		}
		o.verifyServer = scheme + "://artifact-store." + o.namespace + ".svc"
	}
	if server, err := url.Parse(o.verifyServer); err != nil || server.Scheme != "http" && server.Scheme != "https" || server.Host == "" || server.User != nil {
		return errors.New("--verify-server: must be http://host[:port] or https://host[:port]")
	}
	return nil
}

// checkAccess prevents serving everyone by accident.
func (o *options) checkAccess() error {
	host, _, err := net.SplitHostPort(o.listen)
	switch {
	case err != nil:
		return fmt.Errorf("--listen: %q must be host:port", o.listen)
	case o.tokenFile != "" && o.configDir == "":
		return errors.New("--token-file: requires --config-dir; in a cluster use ServiceAccount tokens")
	case o.tokenFile != "" && o.allowAnonymous:
		return errors.New("--allow-anonymous: cannot be combined with --token-file")
	case o.tokenAudience == "":
		return errors.New("--token-audience: must not be empty")
	case o.anonymous() && !o.allowAnonymous && !serving.IsLoopback(host):
		return fmt.Errorf("--listen: %s is reachable from other machines without authentication: listen on 127.0.0.1, or set --token-file or --allow-anonymous", o.listen)
	}
	return nil
}

// sqlite reports whether the database is a file, which only one process can serve.
func (o *options) sqlite() bool { return strings.HasPrefix(o.database, "sqlite:") }

// anonymous reports whether authentication is disabled. In a cluster that needs the flag.
func (o *options) anonymous() bool {
	return o.allowAnonymous || o.configDir != "" && o.tokenFile == ""
}
