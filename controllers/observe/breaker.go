package observe

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/controllers/status"
	"github.com/coulomb/artifact-store/pkg/backoff"
	"github.com/coulomb/artifact-store/pkg/storage"
)

const (
	// endpointLooks is how many backends of one endpoint are probed at once: an
	// endpoint that hangs blocks no more than these.
	endpointLooks = 8
	// lastTrial: a server that is back is noticed within it.
	lastTrial = 30 * time.Second
	// askedTrial is the least time between two trials that people ask for.
	askedTrial = time.Second
)

// trials of an endpoint that does not answer.
var trials = backoff.Policy{First: 5 * time.Second, Most: lastTrial, Jitter: 0.2}

// breakers keep the backends of an endpoint that does not answer from trying it
// all at once. Backends share the breaker of their host and port. While an
// endpoint answers, up to endpointLooks of its backends are probed at the same
// time. After a look without any answer, one look at a time is let through, at
// growing intervals, for whichever backend is due. The first answer of any kind
// lets all others in. Safe for concurrent use.
type breakers struct {
	mu         sync.Mutex
	byEndpoint map[string]*breaker
	now        func() time.Time
	random     func() float64 // from 0 to 1
	// wake is called, with no lock held, for each backend that was turned away and may come again.
	wake func(name string)
}

// breaker is one endpoint's.
type breaker struct {
	running int // looks under way
	// failures is how many looks in a row, one after the other, got no answer.
	failures int
	last     *declared.Problem // of the last of them
	at       time.Time         // when that ended
	next     time.Time         // when the next may begin
	waiting  []string          // backends that were turned away, in order
}

func newBreakers(now func() time.Time, wake func(string)) *breakers {
	return &breakers{byEndpoint: map[string]*breaker{}, now: now, wake: wake, random: rand.Float64}
}

// enter lets a backend in, for a look that ends with done, or says why not.
// asked: someone wants to know now. An empty endpoint always lets in.
func (bs *breakers) enter(endpoint, name string, asked bool) (done func(*declared.Problem), away *status.Away) {
	if endpoint == "" {
		return func(*declared.Problem) {}, nil
	}
	bs.mu.Lock()
	defer bs.mu.Unlock()
	b := bs.byEndpoint[endpoint]
	if b == nil {
		b = &breaker{}
		bs.byEndpoint[endpoint] = b
	}
	now := bs.now()
	switch due := !now.Before(b.next) || asked && now.Sub(b.at) >= askedTrial; {
	case b.failures == 0 && b.running >= endpointLooks:
		away = &status.Away{After: lastTrial}
	case b.failures > 0 && (b.running > 0 || !due):
		away = &status.Away{Problem: b.last, Failures: b.failures, After: max(b.next.Sub(now), askedTrial)}
	default:
		b.running++
		return func(found *declared.Problem) { bs.left(endpoint, b, now, found) }, nil
	}
	if !slices.Contains(b.waiting, name) {
		b.waiting = append(b.waiting, name)
	}
	return nil, away
}

// left records what a look that began then has found.
func (bs *breakers) left(endpoint string, b *breaker, began time.Time, found *declared.Problem) {
	bs.mu.Lock()
	b.running--
	var woken []string
	switch {
	case found != nil && found.Reason == storage.ReasonCancelled:
		// It was broken off here, which says nothing.
	case !noAnswer(found):
		b.failures, b.last, b.next = 0, nil, time.Time{}
		// As many as have room; each that leaves wakes the next.
		n := min(len(b.waiting), endpointLooks-b.running)
		woken, b.waiting = b.waiting[:n:n], b.waiting[n:]
		if b.running == 0 && len(b.waiting) == 0 && n == 0 {
			delete(bs.byEndpoint, endpoint)
		}
	case b.failures > 0 && !began.After(b.at):
		// It was under way when another found that out: no news.
	default:
		b.failures++
		b.last, b.at = found, bs.now()
		b.next = b.at.Add(trials.Delay(b.failures, bs.random()))
	}
	bs.mu.Unlock()
	for _, name := range woken {
		bs.wake(name)
	}
}

// forget drops a backend that is not to be woken any more.
func (bs *breakers) forget(name string) {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	for _, b := range bs.byEndpoint {
		b.waiting = slices.DeleteFunc(b.waiting, func(other string) bool { return other == name })
	}
}

// noAnswers are the reasons that concern the whole endpoint and not one backend.
// An untrusted certificate is not among them: each backend declares whom it trusts.
var noAnswers = []string{
	storage.ReasonConnectionRefused, storage.ReasonConnectionLost, storage.ReasonNameNotResolved, storage.ReasonTimedOut, storage.ReasonServerFailed,
}

func noAnswer(found *declared.Problem) bool {
	return found != nil && found.Lost && slices.Contains(noAnswers, found.Reason)
}

// breakerOf names the endpoint that a backend's looks share; "" for a folder.
func breakerOf(sb *v1alpha1.StorageBackend) string {
	if sb.Spec.S3 == nil {
		return ""
	}
	if endpoint := declared.EndpointOf(sb.Spec.S3.EndpointURL); endpoint != "" {
		return endpoint
	}
	return "s3." + sb.Spec.S3.Region + ".amazonaws.com"
}
