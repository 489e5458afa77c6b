// Package kubernetes asks an API server who holds a token (TokenReview) and
// what he may do (SubjectAccessReview on resources of our group, of which the
// API server keeps none). While it does not answer, tokens of ServiceAccounts
// are verified by its published keys, and what was allowed before holds for a time.
package kubernetes

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/coulomb/artifact-store/pkg/access"
)

// The only rights that the manager needs outside its namespace. Issuer and keys
// are read by system:service-account-issuer-discovery, which every
// ServiceAccount is bound to.
// +kubebuilder:rbac:groups=authentication.k8s.io,resources=tokenreviews,verbs=create
// +kubebuilder:rbac:groups=authorization.k8s.io,resources=subjectaccessreviews,verbs=create

// Config of Open.
type Config struct {
	// Rest says how the API server is reached.
	Rest *rest.Config
	// Namespace that Roles for our resources stand in: the manager's.
	Namespace string
	// Audience that tokens must have.
	Audience string
	// Logger gets what no client is told; nil is slog.Default().
	Logger *slog.Logger
	// Metrics takes those of this package; nil keeps them to itself.
	Metrics prometheus.Registerer
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Cluster is an API server's word on who may do what. All methods may be
// called concurrently.
type Cluster struct {
	client    kubernetes.Interface
	namespace string
	audience  string
	logger    *slog.Logger
	now       func() time.Time
	metrics   *metrics
	reach     reach
	keys      keyring
	asking    singleflight.Group
	// Limits on questions, one for each kind: a flood of tokens whose key is
	// not at hand (of others nobody is asked unless the signature holds) must not
	// keep those who are known from being asked about, nor may one holder's
	// questions those of others.
	reviews, unknown, decisions *rate.Limiter
	askers                      *lru.Cache[string, *rate.Limiter] // each one's share of the decisions, by name
	complaints                  rate.Sometimes                    // about what only an administrator can mend

	// By the hash of a token: whose it is; and those that are nobody's.
	known   *lru.Cache[tokenHash, holder]
	refused *lru.Cache[tokenHash, refusal]
	// revoked are well signed tokens that the API server refused: what they
	// were bound to is gone. Only these can be told from others offline.
	revoked *lru.Cache[tokenHash, time.Time]
	// By question: when it was asked. In caches of their own, so that nobody
	// can drive out what is allowed by asking for what is not.
	allowed *lru.Cache[question, time.Time]
	denied  *lru.Cache[question, time.Time]
}

type tokenHash [sha256.Size]byte

var (
	_ access.Authenticator = (*Cluster)(nil)
	_ access.Authorizer    = (*Cluster)(nil)
)

// New returns a Cluster. It does not connect; Run has to run beside it.
func New(c Config) (*Cluster, error) {
	config := rest.CopyConfig(c.Rest)
	config.QPS = -1 // there are limits of our own, on each kind of question
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("set up access by Kubernetes: %w", err)
	}
	k := &Cluster{
		client: client, namespace: c.Namespace, audience: c.Audience, logger: c.Logger, now: c.Now,
		metrics: newMetrics(c.Metrics),
		reviews: rate.NewLimiter(askedPerSecond, askedAtOnce), unknown: rate.NewLimiter(unknownPerSecond, unknownAtOnce),
		askers: newCache[string, *rate.Limiter](maxKnown), decisions: rate.NewLimiter(askedPerSecond, askedAtOnce),
		known: newCache[tokenHash, holder](maxKnown), refused: newCache[tokenHash, refusal](maxRefused),
		revoked: newCache[tokenHash, time.Time](maxRefused),
		allowed: newCache[question, time.Time](maxAllowed), denied: newCache[question, time.Time](maxDenied),
	}
	if k.logger == nil {
		k.logger = slog.Default()
	}
	if k.now == nil {
		k.now = time.Now
	}
	k.complaints.Interval = complaintEvery
	k.reach.wake = make(chan struct{}, 1)
	return k, nil
}

func newCache[K comparable, V any](size int) *lru.Cache[K, V] {
	cache, err := lru.New[K, V](size)
	if err != nil {
		panic(err) // sizes are constants
	}
	return cache
}

// Run keeps the API server's keys at hand until ctx ends, and finds out when it
// answers again.
func (k *Cluster) Run(ctx context.Context) {
	var said string
	unanswering := 0 // looks in a row
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.reach.wake: // it was found away, or has keys that are not known here
			unanswering = 0
		case <-timer.C:
		}
		keys, err := k.look(ctx)
		wait := refreshKeys
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			k.keys.set(keys)
			k.answers()
			unanswering, said = 0, ""
		case unanswered(err):
			k.doesNotAnswer(err)
			unanswering++
			wait = probes.Delay(unanswering, 1)
		default:
			// It answers, and refuses this: tokens can be reviewed all the same.
			k.answers()
			unanswering = 0
			if wait = retryKeys; err.Error() != said {
				said = err.Error()
				k.logger.Warn("the API server's keys cannot be read; while it is away no token will be known", "error", err)
			}
		}
		timer.Reset(wait)
	}
}

// look reads the keys. While the API server is away it also finds out whether
// it is there again for all that it is asked, which its keys alone do not say.
func (k *Cluster) look(ctx context.Context) (*keyset, error) {
	keys, err := k.fetchKeys(ctx)
	if unanswered(err) {
		k.reach.unready.Store(0)
		return nil, err
	}
	if starting := k.starting(ctx); starting != nil {
		return nil, starting
	}
	if k.reach.away.Load() {
		if undecided := k.decides(ctx); unanswered(undecided) {
			return nil, fmt.Errorf("trying a decision: %w", undecided)
		}
	}
	return keys, err
}

func (k *Cluster) answers() {
	if k.reach.away.Swap(false) {
		k.logger.Info("the API server answers again: tokens are reviewed by it")
	}
	k.metrics.away.Set(0)
}

func (k *Cluster) doesNotAnswer(err error) {
	if !k.reach.away.Swap(true) {
		k.logger.Warn("the API server does not answer: tokens are verified by its keys, and what it allowed within the hour holds", "error", err)
		k.reach.nudge()
	}
	k.metrics.away.Set(1)
}
