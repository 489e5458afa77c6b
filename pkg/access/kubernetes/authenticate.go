package kubernetes

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"time"

	"golang.org/x/time/rate"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/pkg/access"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// holder is who holds a token, and until when this is used.
type holder struct {
	who   access.Identity
	until time.Time
	// reviewed is when the API server last confirmed it; zero if only keys did.
	reviewed time.Time
}

// refusal is why a token is not valid, and until when this is used.
type refusal struct {
	err   error
	until time.Time
}

// Authenticate implements access.Authenticator. Most calls end at a look-up.
func (k *Cluster) Authenticate(ctx context.Context, token storage.Secret) (access.Identity, error) {
	text := token.Reveal()
	hash := tokenHash(sha256.Sum256([]byte(text)))
	now := k.now()
	if h, ok := k.known.Get(hash); ok && now.Before(h.until) {
		return h.who, nil
	}
	if r, ok := k.refused.Get(hash); ok && now.Before(r.until) {
		return access.Identity{}, r.err
	}
	parsed, c, err := k.parse(text)
	if err != nil {
		return access.Identity{}, err // costs no more than a look-up
	}
	// Concurrent calls with the same token wait for one answer.
	answer := k.asking.DoChan("token "+string(hash[:]), func() (any, error) {
		if h, ok := k.known.Get(hash); ok && k.now().Before(h.until) {
			return h.who, nil // answered since the look-up
		}
		who, err := k.authenticate(ctx, text, hash, c)
		if err == nil && !k.hasKey(parsed) {
			k.reach.nudge() // the API server has a new key: read it
		}
		return who, err
	})
	select {
	case <-ctx.Done():
		return access.Identity{}, ctx.Err()
	case result := <-answer:
		who, _ := result.Val.(access.Identity)
		return who, result.Err
	}
}

// authenticate asks the API server, or verifies by its keys while it is away,
// and caches the answer.
func (k *Cluster) authenticate(ctx context.Context, text string, hash tokenHash, c *claims) (access.Identity, error) {
	asked := k.now()
	// An invalid signature needs no question. A token that is signed by an unknown
	// key has a separate limit: anyone can make one.
	_, signed := k.verify(text)
	limit := k.reviews
	switch {
	case errors.Is(signed, errSignature):
		k.metrics.tokens.WithLabelValues(byKeys).Inc()
		return access.Identity{}, signed
	case errors.Is(signed, errNoKey):
		limit = k.unknown
	}
	who, err := k.review(ctx, text, limit)
	if errors.Is(err, access.ErrUnauthenticated) && signed == nil && !k.believed(ctx) {
		err = errAway
	}
	switch {
	case err == nil:
		k.metrics.tokens.WithLabelValues(byServer).Inc()
		k.known.Add(hash, holder{who, k.until(c, knownFor), asked})
		k.revoked.Remove(hash)
		return who, nil
	case errors.Is(err, access.ErrUnauthenticated):
		k.metrics.tokens.WithLabelValues(byServer).Inc()
		k.known.Remove(hash)
		k.refused.Add(hash, refusal{err, k.now().Add(refusedFor)})
		if signed == nil {
			k.revoked.Add(hash, k.now().Add(revokedFor))
		}
		return access.Identity{}, err
	case errors.Is(err, errCrowded) && k.recentlyReviewed(hash, asked):
		// A flood of invalid tokens must not lock out valid ones.
		return k.authenticateOffline(text, hash, c)
	case !errors.Is(err, errAway):
		k.metrics.tokens.WithLabelValues(byNobody).Inc()
		k.complaints.Do(func() { k.logger.WarnContext(ctx, "the API server cannot be asked who holds a token", "error", err) })
		return access.Identity{}, access.ErrUnavailable
	}
	return k.authenticateOffline(text, hash, c)
}

func (k *Cluster) authenticateOffline(text string, hash tokenHash, c *claims) (access.Identity, error) {
	if until, ok := k.revoked.Get(hash); ok && k.now().Before(until) {
		return access.Identity{}, errRefused
	}
	who, err := k.verify(text)
	switch {
	case err == nil:
		k.metrics.tokens.WithLabelValues(byKeys).Inc()
		before, _ := k.known.Peek(hash)
		k.known.Add(hash, holder{who, k.until(c, knownOffline), before.reviewed})
		return who, nil
	case errors.Is(err, errNoKey):
		k.metrics.tokens.WithLabelValues(byNobody).Inc()
		return access.Identity{}, access.ErrUnavailable
	}
	k.metrics.tokens.WithLabelValues(byKeys).Inc()
	return access.Identity{}, err
}

// recentlyReviewed reports whether the API server has recently confirmed the token.
func (k *Cluster) recentlyReviewed(hash tokenHash, now time.Time) bool {
	before, ok := k.known.Peek(hash)
	return ok && now.Sub(before.reviewed) < knownCrowded
}

// errRefused says no more than the API server does: it does not distinguish a
// token that it never issued from one whose ServiceAccount is gone.
var errRefused = access.Unauthenticated("Kubernetes rejects the token: it is unknown, or the object that it was bound to is gone")

// review is one TokenReview.
func (k *Cluster) review(ctx context.Context, text string, limit *rate.Limiter) (access.Identity, error) {
	var status authenticationv1.TokenReviewStatus
	err := k.ask(ctx, limit, func(ctx context.Context) error {
		review, err := k.client.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{
			Spec: authenticationv1.TokenReviewSpec{Token: text, Audiences: []string{k.audience}},
		}, metav1.CreateOptions{})
		if err == nil {
			status = review.Status
		}
		return err
	})
	switch {
	case err != nil:
		return access.Identity{}, err
	case !status.Authenticated || status.User.Username == "":
		return access.Identity{}, errRefused
	case !slices.Contains(status.Audiences, k.audience):
		// The authenticator does not support audiences: any token would be accepted.
		return access.Identity{}, access.Unauthenticated("the token is not for the audience " + k.audience)
	}
	return identity(status.User.Username, status.User.Groups), nil
}
