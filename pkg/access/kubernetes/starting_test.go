package kubernetes

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/pkg/access"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// only answers questions to some paths by fail; the rest passes.
func (w *world) only(fail func(*http.Request) (*http.Response, error), suffixes ...string) {
	inner := w.gate.inner
	w.gate.set(func(r *http.Request) (*http.Response, error) {
		for _, suffix := range suffixes {
			if strings.HasSuffix(r.URL.Path, suffix) {
				return fail(r)
			}
		}
		return inner.RoundTrip(r)
	})
}

// denying answers every SubjectAccessReview and TokenReview with no.
func denying(r *http.Request) (*http.Response, error) {
	kind := "authorization.k8s.io/v1\",\"kind\":\"SubjectAccessReview"
	if strings.HasSuffix(r.URL.Path, "tokenreviews") {
		kind = "authentication.k8s.io/v1\",\"kind\":\"TokenReview"
	}
	answer, err := answering(http.StatusCreated)(r)
	answer.Header.Set("Content-Type", "application/json")
	answer.Body = io.NopCloser(bytes.NewBufferString(`{"apiVersion":"` + kind + `","status":{}}`))
	return answer, err
}

// TestStarting: an API server that has not read its rules yet refuses
// everybody, the manager among them. Until it says that it is ready it is as
// good as away, also if nobody saw it go.
func TestStarting(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(w *world){
		"refuses the manager": func(w *world) { w.gate.set(answering(http.StatusForbidden)) },
		"denies, and says that it is not ready": func(w *world) {
			inner := w.gate.inner
			w.gate.set(func(r *http.Request) (*http.Response, error) {
				switch {
				case strings.HasSuffix(r.URL.Path, "reviews"):
					return denying(r)
				case r.URL.Path == "/readyz":
					return answering(http.StatusInternalServerError)(r)
				}
				return inner.RoundTrip(r)
			})
		},
	} {
		for i := range 4 {
			seen, tokenFirst := i%2 == 1, i/2 == 1
			t.Run(fmt.Sprintf("%s, seen to be away %v, token first %v", name, seen, tokenFirst), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.eventually("it does not tell the manager that it is ready", w.cluster.reach.tellsReady.Load)
				w.account("pusher")
				w.role("push", "pusher", []string{access.Create}, "team-a")
				w.eventually("the Role is not known", func() bool {
					w.advance(deniedFor)
					return w.authorize("pusher", access.Create, "team-a") == nil
				})
				if seen {
					w.away(refusing)
				}
				w.advance(allowedFor)
				fail(w)
				token := w.token("pusher", audience)
				asks := []func(){
					func() { w.is("a right of before", w.authorize("pusher", access.Create, "team-a"), nil) },
					func() {
						_, err := w.authenticate(token)
						w.is("a token not seen before", err, nil)
						w.cluster.known.Purge()
					},
				}
				if tokenFirst { // whoever is first finds out
					slices.Reverse(asks)
				}
				for range 20 { // the loop looks meanwhile
					asks[0]()
					asks[1]()
					w.cluster.reach.nudge()
				}
				if !w.cluster.reach.away.Load() {
					t.Error("it is not taken for away")
				}
				// Ready, it is believed.
				w.must(plane.admin.RbacV1().RoleBindings(w.namespace).Delete(w.ctx, "push", metav1.DeleteOptions{}))
				w.back()
				w.eventually("a right that was taken away meanwhile does not end", func() bool {
					w.advance(allowedFor)
					return w.authorize("pusher", access.Create, "team-a") != nil
				})
				w.is("after it is back", w.authorize("pusher", access.Create, "team-a"), access.ErrForbidden)
			})
		}
	}
}

// TestNotReadyForLong: an API server that answers and never becomes ready is
// not starting. Its "no" counts after a minute, until it was away again.
func TestNotReadyForLong(t *testing.T) {
	t.Parallel()
	for name, unready := range map[string]func(*http.Request) (*http.Response, error){
		"says so":             answering(http.StatusInternalServerError),
		"refuses to say":      answering(http.StatusForbidden),
		"does not say at all": refusing,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.eventually("it does not tell the manager that it is ready", w.cluster.reach.tellsReady.Load)
			for _, account := range []string{"pusher", "other"} {
				w.account(account)
				w.role(account, account, []string{access.Create}, "team-a")
				w.eventually("the Role is not known", func() bool {
					w.advance(deniedFor)
					return w.authorize(account, access.Create, "team-a") == nil
				})
			}
			token := w.token("pusher", audience)
			inner := w.gate.inner
			denies := func(r *http.Request) (*http.Response, error) {
				switch {
				case strings.HasSuffix(r.URL.Path, "reviews"):
					return denying(r)
				case r.URL.Path == "/readyz":
					return unready(r)
				}
				return inner.RoundTrip(r)
			}
			right := func(account string) error { return w.authorize(account, access.Create, "team-a") }
			holder := func() error {
				w.cluster.known.Purge()
				_, err := w.authenticate(token)
				return err
			}
			w.advance(allowedFor)
			w.gate.set(denies)
			for range 2 { // the loop looks meanwhile
				w.is("a right of before, at first", right("pusher"), nil)
				w.is("a good signature, at first", holder(), nil)
				w.cluster.reach.nudge()
				w.advance(startingFor / 3)
			}
			w.advance(startingFor / 3)
			w.eventually("it is taken for away for ever", func() bool {
				w.cluster.reach.nudge()
				return !w.cluster.reach.away.Load()
			})
			w.is("a right that is denied, after a minute", right("pusher"), access.ErrForbidden)
			w.is("a token that is refused, after a minute", holder(), access.ErrUnauthenticated)
			if w.cluster.reach.away.Load() {
				t.Error("it is taken for away again")
			}
			// What was gone meanwhile may be starting again.
			w.away(refusing)
			w.gate.set(denies)
			for range 20 {
				w.is("a right of before, after it was gone", right("other"), nil)
				if right("pusher") == nil {
					t.Error("a right that was denied before that is back")
				}
				w.advance(deniedFor)
				w.cluster.reach.nudge()
				if w.cluster.reach.unready.Load() != 0 {
					break
				}
			}
			w.eventually("it is taken for away for ever, the second time", func() bool {
				w.advance(startingFor / 3)
				w.cluster.reach.nudge()
				return !w.cluster.reach.away.Load()
			})
			w.is("a right that is denied, in the end", right("other"), access.ErrForbidden)
		})
	}
}

// TestReadyIsNotTold: where nobody may ask whether the API server is ready, it
// is believed.
func TestReadyIsNotTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.only(answering(http.StatusForbidden), "/readyz")
	w.cluster.reach.tellsReady.Store(false) // it was told before
	w.account("pusher")
	_, err := w.authenticate(w.token("pusher", audience))
	w.is("a token", err, nil)
	w.role("push", "pusher", []string{access.Create}, "team-a")
	w.eventually("the Role is not known", func() bool {
		w.advance(deniedFor)
		return w.authorize("pusher", access.Create, "team-a") == nil
	})
	w.must(plane.admin.RbacV1().RoleBindings(w.namespace).Delete(w.ctx, "push", metav1.DeleteOptions{}))
	w.eventually("a right that was taken away does not end", func() bool {
		w.advance(allowedFor)
		return w.authorize("pusher", access.Create, "team-a") != nil
	})
	w.is("what is not allowed any more", w.authorize("pusher", access.Create, "team-a"), access.ErrForbidden)
	w.only(answering(http.StatusForbidden), "/readyz", "reviews")
	w.advance(deniedFor)
	w.is("without the right to ask", w.authorize("pusher", access.Create, "team-a"), access.ErrUnavailable)
	if w.cluster.reach.away.Load() {
		t.Error("it is taken for away")
	}
}

// TestReviewsHang: an API server that serves its keys and decides nothing is
// away, and not every request waits to find that out.
func TestReviewsHang(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.account("pusher")
	w.role("push", "pusher", []string{access.Create}, "team-a")
	w.eventually("the Role is not known", func() bool {
		w.advance(deniedFor)
		return w.authorize("pusher", access.Create, "team-a") == nil
	})
	w.only(hanging, "reviews")
	w.advance(allowedFor)
	tick := time.NewTicker(50 * time.Millisecond) // the loop looks meanwhile
	defer tick.Stop()
	began := time.Now()
	for range 20 {
		w.is("a right of before", w.authorize("pusher", access.Create, "team-a"), nil)
		w.cluster.reach.nudge()
		<-tick.C
	}
	if took := time.Since(began); took > 2*askTimeout {
		t.Errorf("20 decisions took %s", took)
	}
	w.back()
}

// TestFloods: what anybody can send keeps nobody else from being asked about,
// and a limit of ours is no reason for a right to hold.
func TestFloods(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.account("pusher")
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.must(err)
	forge := func(kid string) storage.Secret {
		return w.forged(own, kid, jose.ES256, func(map[string]any) {}) // another signature each time
	}
	reviewed := w.gate.count("tokenreviews")
	for range 50 {
		_, err := w.authenticate(forge(w.cluster.keys.current.Load().keys.Keys[0].KeyID))
		w.is("a signature that does not hold", err, access.ErrUnauthenticated)
	}
	if n := w.gate.count("tokenreviews") - reviewed; n != 0 {
		t.Errorf("%d reviews of signatures that do not hold", n)
	}
	w.cluster.unknown.SetBurst(0)
	_, err = w.authenticate(forge("unknown"))
	w.is("one too many of an unknown key", err, access.ErrUnavailable)
	_, err = w.authenticate(w.token("pusher", audience))
	w.is("a good token beside them", err, nil)

	w.role("push", "pusher", []string{access.Create}, "team-a")
	w.eventually("the Role is not known", func() bool {
		w.advance(deniedFor)
		return w.authorize("pusher", access.Create, "team-a") == nil
	})
	w.advance(allowedFor)
	share, _ := w.cluster.askers.Get(w.user("pusher").Name)
	share.SetBurst(0)
	w.is("a right of before, of one who asks too much", w.authorize("pusher", access.Create, "team-a"), access.ErrUnavailable)
	w.is("somebody else meanwhile", w.authorize("other", access.Create, "team-a"), access.ErrForbidden)
	share.SetBurst(askerAtOnce)
	w.cluster.decisions.SetBurst(0)
	w.is("a right of before, while all ask too much", w.authorize("pusher", access.Create, "team-a"), access.ErrUnavailable)
	if w.cluster.reach.away.Load() {
		t.Error("a limit of ours is taken for an API server that is away")
	}
}
