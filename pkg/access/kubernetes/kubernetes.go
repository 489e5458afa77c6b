// Package kubernetes asks an API server who holds a token (TokenReview) and
// what the holder may do (SubjectAccessReview on resources of our group, which
// the API server does not store). While it does not answer, the package verifies
// tokens of ServiceAccounts by the server's published keys, and what was allowed
// before stays allowed for a time.
//
// Its words: the API server is away while it does not answer; it is starting
// while it answers but is not ready, having read only some of its accounts and
// rules. A question is a review or a decision that is asked of it.
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

// The only permissions that the manager needs outside its namespace. It reads
// issuer and keys by system:service-account-issuer-discovery, to which every
// ServiceAccount is bound.
// +kubebuilder:rbac:groups=authentication.k8s.io,resources=tokenreviews,verbs=create
// +kubebuilder:rbac:groups=authorization.k8s.io,resources=subjectaccessreviews,verbs=create

// Config of Open.
type Config struct {
	// Rest says how to connect to the API server.
	Rest *rest.Config
	// Namespace contains the Roles for our resources: the manager's.
	Namespace string
	// Audience that tokens must have.
	Audience string
	// Logger records what clients are not told; nil is slog.Default().
	Logger *slog.Logger
	// Metrics registers those of this package; nil means nowhere.
	Metrics prometheus.Registerer
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Cluster decides by an API server who may do what. All methods may be called
// concurrently.
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
	// Limits on questions, one for each kind. A flood of tokens that are signed by
	// an unknown key must not delay questions about known holders, and the
	// questions about one holder must not delay those about others. (A token with
	// an invalid signature of a known key is never a question.)
	reviews, unknown, decisions *rate.Limiter
	askers                      *lru.Cache[string, *rate.Limiter] // each holder's share of the decisions, by name
	complaints                  rate.Sometimes                    // logs what only an administrator can fix

	// By the hash of a token: its holder; and the tokens that are not valid.
	known   *lru.Cache[tokenHash, holder]
	refused *lru.Cache[tokenHash, refusal]
	// revoked are tokens with a valid signature that the API server refused: the
	// object that they were bound to is gone. Without the API server this cannot
	// be noticed otherwise.
	revoked *lru.Cache[tokenHash, time.Time]
	// By question: when it was asked. There are two caches, so that denied
	// questions cannot evict allowed ones.
	allowed *lru.Cache[question, time.Time]
	denied  *lru.Cache[question, time.Time]
}

type tokenHash [sha256.Size]byte

var (
	_ access.Authenticator = (*Cluster)(nil)
	_ access.Authorizer    = (*Cluster)(nil)
)

// New returns a Cluster. It does not connect; Run must run at the same time.
func New(c Config) (*Cluster, error) {
	config := rest.CopyConfig(c.Rest)
	config.QPS = -1 // the Cluster limits each kind of question itself
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("setting up access by Kubernetes: %w", err)
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

// Run keeps the API server's keys up to date until ctx ends, and notices when
// the server answers again.
func (k *Cluster) Run(ctx context.Context) {
	var said string
	unanswering := 0 // looks in a row without an answer
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.reach.wake: // it does not answer, or has keys that are not known here
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
			// It answers but refuses this: it can still review tokens.
			k.answers()
			unanswering = 0
			if wait = retryKeys; err.Error() != said {
				said = err.Error()
				k.logger.Warn("the API server's keys cannot be read: tokens cannot be verified while it does not answer", "error", err)
			}
		}
		timer.Reset(wait)
	}
}

// look reads the keys. While the API server is away it also checks whether the
// server answers every kind of question again, which its keys alone do not show.
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
			return nil, fmt.Errorf("testing a decision: %w", undecided)
		}
	}
	return keys, err
}

func (k *Cluster) answers() {
	if k.reach.away.Swap(false) {
		k.logger.Info("the API server answers again and reviews tokens")
	}
	k.metrics.away.Set(0)
}

func (k *Cluster) doesNotAnswer(err error) {
	if !k.reach.away.Swap(true) {
		k.logger.Warn("the API server does not answer: tokens are verified by its keys, and what it allowed within the last hour stays allowed", "error", err)
		k.reach.nudge()
	}
	k.metrics.away.Set(1)
}
