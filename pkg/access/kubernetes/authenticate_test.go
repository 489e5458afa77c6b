package kubernetes

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/coulomb/artifact-store/pkg/access"
	"github.com/coulomb/artifact-store/pkg/storage"
)

func (w *world) authenticate(token storage.Secret) (access.Identity, error) {
	return w.cluster.Authenticate(w.ctx, token)
}

// TestTokens has a real API server say whose they are.
func TestTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.account("pusher")
	good := w.token("pusher", audience)
	who, err := w.authenticate(good)
	if err != nil || !who.Equal(w.user("pusher")) {
		t.Fatalf("%+v, %v", who, err)
	}
	// One of several audiences is enough.
	if _, err := w.authenticate(w.token("pusher", "other", audience)); err != nil {
		t.Error(err)
	}
	head, rest, _ := strings.Cut(good.Reveal(), ".")
	body, signature, _ := strings.Cut(rest, ".")
	for what, token := range map[string]string{
		"of another audience":    w.token("pusher", "other").Reveal(),
		"of the API server's":    w.token("pusher").Reveal(),
		"junk":                   "junk",
		"junk in three parts":    "a.b.c",
		"without a signature":    head + "." + body + ".",
		"with another signature": head + "." + body + "." + strings.Repeat("A", len(signature)),
		"with another body":      head + "." + strings.Replace(body, "A", "B", 1) + "." + signature,
		"twice":                  good.Reveal() + "." + good.Reveal(),
		"not signed":             base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + body + ".",
	} {
		who, err := w.authenticate(storage.NewSecret(token))
		if !errors.Is(err, access.ErrUnauthenticated) || who.Name != "" {
			t.Errorf("a token %s: %+v, %v", what, who, err)
		}
		if err != nil && (strings.Contains(err.Error(), token) || strings.Contains(err.Error(), body)) {
			t.Errorf("a token %s: the error shows it: %v", what, err)
		}
	}
	// Its end is its end, whatever was kept.
	w.advance(time.Hour + time.Minute)
	_, err = w.authenticate(good)
	w.is("a token that has ended", err, access.ErrUnauthenticated)
}

// TestAsksLittle: what was answered is not asked again for a while, and those
// who come together wait for one answer.
func TestAsksLittle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.account("pusher")
	token := w.token("pusher", audience)
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			if _, err := w.authenticate(token); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if n := w.gate.count("tokenreviews"); n != 1 {
		t.Errorf("%d reviews of one token", n)
	}
	w.advance(knownFor - time.Second)
	_, err := w.authenticate(token)
	w.is("a token that is known", err, nil)
	if n := w.gate.count("tokenreviews"); n != 1 {
		t.Errorf("%d reviews of one token", n)
	}
	// A deleted ServiceAccount loses access as soon as that is over, and what
	// the API server itself keeps of a token, for 10 s.
	w.must(plane.admin.CoreV1().ServiceAccounts(w.namespace).Delete(w.ctx, "pusher", metav1.DeleteOptions{}))
	w.refuses(token)
	n := w.gate.count("tokenreviews")
	for range 3 {
		_, err = w.authenticate(token)
		w.is("a token whose account is gone", err, access.ErrUnauthenticated)
	}
	// What cannot be good is not asked about at all.
	for _, text := range []string{"junk", "a.b.c", w.token(w.makeAccount("another"), "other").Reveal()} {
		_, err = w.authenticate(storage.NewSecret(text))
		w.is("what cannot be good", err, access.ErrUnauthenticated)
	}
	if again := w.gate.count("tokenreviews"); again != n {
		t.Errorf("%d reviews of what was refused a moment ago, or cannot be good", again-n)
	}
	// A caller who leaves does not take the answer along.
	w.makeAccount("other")
	next := w.token("other", audience)
	ctx, cancel := context.WithCancel(w.ctx)
	cancel()
	if _, err := w.cluster.Authenticate(ctx, next); err == nil {
		t.Error("one who had left was answered")
	}
	w.eventually("the answer is not kept", func() bool {
		n := w.gate.count("tokenreviews")
		_, err := w.authenticate(next)
		return err == nil && w.gate.count("tokenreviews") == n
	})
	if w.cluster.reach.away.Load() {
		t.Error("one who left is taken for an API server that is away")
	}
}

// refuses waits until a token is nobody's any more, whatever is kept of it here.
func (w *world) refuses(token storage.Secret) {
	w.Helper()
	var err error
	w.eventually("a token whose account is gone is good", func() bool {
		w.cluster.known.Purge() // and not later: the token must not have ended
		_, err = w.authenticate(token)
		return err != nil
	})
	if err != errRefused {
		w.Errorf("a token whose account is gone: %v", err)
	}
}

// makeAccount makes a ServiceAccount and returns its name.
func (w *world) makeAccount(name string) string {
	w.account(name)
	return name
}

// TestTokensWhileAway: by keys alone the answers are what the API server's were.
func TestTokensWhileAway(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(*http.Request) (*http.Response, error){
		"refuses connections": refusing, "does not answer": hanging, "closes connections": closing,
		"500": answering(500), "503": answering(503), "429": answering(429), "504": answering(504),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.account("pusher")
			w.account("gone")
			seen, before := w.token("pusher", audience), w.token("pusher", audience)
			who, err := w.authenticate(seen)
			w.is("while it is there", err, nil)
			gone := w.token("gone", audience)
			w.must(plane.admin.CoreV1().ServiceAccounts(w.namespace).Delete(w.ctx, "gone", metav1.DeleteOptions{}))
			w.refuses(gone)
			other, ended := w.token("pusher", "other"), w.token("pusher", audience)

			// The first to ask finds out that it is away, and is answered all the same.
			w.gate.set(fail)
			began := time.Now()
			offline, err := w.authenticate(before)
			if err != nil || !offline.Equal(who) {
				t.Errorf("a token not seen before: %+v, %v; want %+v", offline, err, who)
			}
			if took := time.Since(began); took > 2*askTimeout+time.Second {
				t.Errorf("it took %s to find out that the API server is away", took)
			}
			if !w.cluster.reach.away.Load() || testutil.ToFloat64(w.cluster.metrics.away) != 1 {
				t.Error("nobody noticed")
			}
			// From then on nobody waits.
			asked, began := w.gate.count("tokenreviews"), time.Now()
			w.advance(knownFor + time.Second)
			for _, token := range []storage.Secret{seen, before} {
				if again, err := w.authenticate(token); err != nil || !again.Equal(who) {
					t.Errorf("a token seen before: %+v, %v", again, err)
				}
			}
			_, err = w.authenticate(gone)
			w.is("a token that was refused before", err, access.ErrUnauthenticated)
			_, err = w.authenticate(other)
			w.is("a token of another audience", err, access.ErrUnauthenticated)
			if took := time.Since(began); took > time.Second || w.gate.count("tokenreviews") != asked {
				t.Errorf("four tokens took %s and %d reviews", took, w.gate.count("tokenreviews")-asked)
			}
			w.advance(time.Hour)
			_, err = w.authenticate(ended)
			w.is("a token that has ended", err, access.ErrUnauthenticated)

			// When it is back it is asked again.
			w.back()
			fresh := w.token("pusher", audience)
			w.mu.Lock()
			w.moved = 0
			w.mu.Unlock()
			reviewed := testutil.ToFloat64(w.cluster.metrics.tokens.WithLabelValues(byServer))
			if _, err := w.authenticate(fresh); err != nil || testutil.ToFloat64(w.cluster.metrics.tokens.WithLabelValues(byServer)) != reviewed+1 {
				t.Errorf("after it is back: %v", err)
			}
		})
	}
}

// forged makes a token like the API server's, with other claims or another key.
func (w *world) forged(key any, kid string, algorithm jose.SignatureAlgorithm, change func(map[string]any)) storage.Secret {
	w.Helper()
	_, body, _ := strings.Cut(w.token("pusher", audience).Reveal(), ".")
	body, _, _ = strings.Cut(body, ".")
	data, err := base64.RawURLEncoding.DecodeString(body)
	w.must(err)
	var claims map[string]any
	w.must(json.Unmarshal(data, &claims))
	change(claims)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, nil)
	w.must(err)
	text, err := jwt.Signed(signer).Claims(claims).Serialize()
	w.must(err)
	return storage.NewSecret(text)
}

// TestForgedTokens: while the API server is away, keys decide, and no word of the token itself.
func TestForgedTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.account("pusher")
	issued := w.cluster.keys.current.Load()
	kid := issued.keys.Keys[0].KeyID
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.must(err)
	public, err := json.Marshal(issued.keys.Keys[0])
	w.must(err)
	// A key of ours beside the API server's, so that well signed tokens can be made.
	ours := *issued
	ours.keys.Keys = append(ours.keys.Keys, jose.JSONWebKey{Key: own.Public(), KeyID: "ours", Algorithm: "ES256", Use: "sig"})
	w.away(refusing)
	w.cluster.keys.set(&ours)
	same := func(map[string]any) {}
	if _, err := w.authenticate(w.forged(own, "ours", jose.ES256, same)); err != nil {
		t.Fatalf("a well signed token: %v", err)
	}
	for what, c := range map[string]struct {
		token storage.Secret
		want  error
	}{
		"by another key under a known name":    {w.forged(own, kid, jose.ES256, same), access.ErrUnauthenticated},
		"by an unknown key":                    {w.forged(own, "unknown", jose.ES256, same), access.ErrUnavailable},
		"by no named key":                      {w.forged(own, "", jose.ES256, same), access.ErrUnavailable},
		"with the public key as shared secret": {w.forged(public, kid, jose.HS256, same), access.ErrUnauthenticated},
		"of another issuer":                    {w.forged(own, "ours", jose.ES256, func(c map[string]any) { c["iss"] = "https://elsewhere" }), access.ErrUnavailable},
		"of another audience":                  {w.forged(own, "ours", jose.ES256, func(c map[string]any) { c["aud"] = "other" }), access.ErrUnauthenticated},
		"of no audience":                       {w.forged(own, "ours", jose.ES256, func(c map[string]any) { delete(c, "aud") }), access.ErrUnauthenticated},
		"that has ended":                       {w.forged(own, "ours", jose.ES256, func(c map[string]any) { c["exp"] = time.Now().Add(-time.Second).Unix() }), access.ErrUnauthenticated},
		"without an end":                       {w.forged(own, "ours", jose.ES256, func(c map[string]any) { delete(c, "exp") }), access.ErrUnauthenticated},
		"not good yet":                         {w.forged(own, "ours", jose.ES256, func(c map[string]any) { c["nbf"] = time.Now().Add(time.Hour).Unix() }), access.ErrUnauthenticated},
		"of a user":                            {w.forged(own, "ours", jose.ES256, func(c map[string]any) { c["sub"] = "system:admin" }), access.ErrUnauthenticated},
		"of half an account":                   {w.forged(own, "ours", jose.ES256, func(c map[string]any) { c["sub"] = "system:serviceaccount:a" }), access.ErrUnauthenticated},
		"of an account with colons":            {w.forged(own, "ours", jose.ES256, func(c map[string]any) { c["sub"] = "system:serviceaccount:a:b:c" }), access.ErrUnauthenticated},
		"that says two accounts":               {w.forged(own, "ours", jose.ES256, func(c map[string]any) { c["sub"] = "system:serviceaccount:kube-system:admin" }), access.ErrUnauthenticated},
		"of no account":                        {w.forged(own, "ours", jose.ES256, func(c map[string]any) { delete(c, "kubernetes.io") }), access.ErrUnauthenticated},
	} {
		who, err := w.authenticate(c.token)
		if !errors.Is(err, c.want) || who.Name != "" {
			t.Errorf("a token %s: %+v, %v; want %v", what, who, err, c.want)
		}
	}
	// A clock that is a little behind the API server's does not matter.
	if _, err := w.authenticate(w.forged(own, "ours", jose.ES256, func(c map[string]any) { c["nbf"] = time.Now().Add(30 * time.Second).Unix() })); err != nil {
		t.Errorf("a token from a clock ahead: %v", err)
	}
	w.cluster.keys.current.Store(nil)
	_, err = w.authenticate(w.token("pusher", audience))
	w.is("without keys", err, access.ErrUnavailable)
}

// TestWithoutRights: an API server that refuses to be asked is not away, and
// nothing is decided without it.
func TestWithoutRights(t *testing.T) {
	t.Parallel()
	w := newWorldAs(t, func() *rest.Config { return plane.stranger })
	var log bytes.Buffer
	w.cluster.logger = slog.New(slog.NewTextHandler(&log, nil))
	w.account("pusher")
	w.eventually("issuer and keys are not to be had by every ServiceAccount", func() bool { return w.cluster.keys.current.Load() != nil })
	token := w.token("pusher", audience)
	for range 5 {
		_, err := w.authenticate(token)
		w.is("a token", err, access.ErrUnavailable)
	}
	w.is("a decision", w.cluster.Authorize(w.ctx, w.user("pusher"), access.Action{Verb: access.Get, Resource: access.Events}), access.ErrUnavailable)
	if w.cluster.reach.away.Load() {
		t.Error("the API server is taken for away")
	}
	if n := strings.Count(log.String(), "cannot create resource"); n != 1 || strings.Contains(log.String(), token.Reveal()) {
		t.Errorf("logged %d times:\n%s", n, log.String())
	}
}

// TestNewKey: a token that is signed by a key that is not at hand has the keys read again.
func TestNewKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.account("pusher")
	issued := w.cluster.keys.current.Load()
	w.cluster.keys.set(&keyset{issuer: issued.issuer})
	if _, err := w.authenticate(w.token("pusher", audience)); err != nil {
		t.Fatal(err)
	}
	w.eventually("the keys are not read again", func() bool { return len(w.cluster.keys.current.Load().keys.Keys) > 0 })
}
