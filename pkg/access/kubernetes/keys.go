package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/coulomb/artifact-store/pkg/access"
)

// algorithms that an API server signs with. None is symmetric: a published key
// must never be taken for a shared secret.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512}

// keyset is what the API server publishes of how it signs tokens.
type keyset struct {
	issuer string
	keys   jose.JSONWebKeySet
}

// keyring holds the keyset that was read last.
type keyring struct{ current atomic.Pointer[keyset] }

func (r *keyring) set(s *keyset) { r.current.Store(s) }

// fetchKeys reads issuer and keys. From the API server itself: the document's
// jwks_uri may be an address that only the outside reaches.
func (k *Cluster) fetchKeys(ctx context.Context) (*keyset, error) {
	var discovery struct {
		Issuer string `json:"issuer"`
	}
	var s keyset
	for path, into := range map[string]any{"/.well-known/openid-configuration": &discovery, "/openid/v1/jwks": &s.keys} {
		err := askOnce(ctx, nil, func(ctx context.Context) error {
			data, err := k.client.Discovery().RESTClient().Get().AbsPath(path).DoRaw(ctx)
			if err != nil {
				return err
			}
			if len(data) > maxDocument {
				return fmt.Errorf("larger than %d bytes", maxDocument)
			}
			return json.Unmarshal(data, into)
		})
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
	}
	s.issuer = discovery.Issuer
	s.keys.Keys = slices.DeleteFunc(s.keys.Keys, func(key jose.JSONWebKey) bool { return !key.Valid() || !key.IsPublic() })
	if s.issuer == "" || len(s.keys.Keys) == 0 {
		return nil, errors.New("the API server publishes no issuer, or no key that signs tokens")
	}
	return &s, nil
}

// claims are what is read of a token.
type claims struct {
	jwt.Claims
	Kubernetes *struct {
		Namespace      string `json:"namespace"`
		ServiceAccount struct {
			Name string `json:"name"`
		} `json:"serviceaccount"`
	} `json:"kubernetes.io"`
}

// parse reads a token without verifying it, and refuses one that cannot be
// good whoever signed it, so that the API server is not asked about it.
func (k *Cluster) parse(text string) (*jwt.JSONWebToken, *claims, error) {
	token, err := jwt.ParseSigned(text, algorithms)
	if err != nil {
		return nil, nil, access.Unauthenticated("the token is none that Kubernetes issues")
	}
	var c claims
	if err := token.UnsafeClaimsWithoutVerification(&c); err != nil {
		return nil, nil, access.Unauthenticated("the token is none that Kubernetes issues")
	}
	switch {
	case !c.Audience.Contains(k.audience):
		return nil, nil, access.Unauthenticated("the token is not for the audience " + k.audience)
	case c.Expiry == nil:
		return nil, nil, access.Unauthenticated("the token has no end: it is not one that was asked for with an audience")
	case !k.now().Before(c.Expiry.Time()):
		return nil, nil, access.Unauthenticated("the token has ended")
	}
	return token, &c, nil
}

// errNoKey: the token may be good, but the key that would tell is not known here.
var errNoKey = errors.New("the key that signed the token is not known here")

// errSignature: the key is known, and did not sign this.
var errSignature = access.Unauthenticated("the token's signature does not hold")

// verify finds out by keys alone whose token it is: signature, issuer,
// audience, times, and the form of a ServiceAccount's name. errNoKey; any other
// error is an *access.UnauthenticatedError.
func (k *Cluster) verify(text string) (access.Identity, error) {
	token, unverified, err := k.parse(text)
	if err != nil {
		return access.Identity{}, err
	}
	s := k.keys.current.Load()
	if s == nil || unverified.Issuer != s.issuer {
		return access.Identity{}, errNoKey
	}
	keys := s.keys.Key(token.Headers[0].KeyID)
	if len(keys) == 0 {
		return access.Identity{}, errNoKey
	}
	var c claims
	if err := token.Claims(keys[0].Key, &c); err != nil {
		return access.Identity{}, errSignature
	}
	if c.NotBefore != nil && k.now().Add(jwt.DefaultLeeway).Before(c.NotBefore.Time()) {
		return access.Identity{}, access.Unauthenticated("the token is not good yet")
	}
	return serviceAccount(&c)
}

// serviceAccount is the identity that Kubernetes gives to a ServiceAccount.
func serviceAccount(c *claims) (access.Identity, error) {
	namespace, name, found := strings.Cut(strings.TrimPrefix(c.Subject, serviceAccountPrefix), ":")
	if !strings.HasPrefix(c.Subject, serviceAccountPrefix) || !found || namespace == "" || name == "" || strings.Contains(name, ":") ||
		c.Kubernetes == nil || c.Kubernetes.Namespace != namespace || c.Kubernetes.ServiceAccount.Name != name {
		return access.Identity{}, access.Unauthenticated("the token is none of a ServiceAccount")
	}
	return identity(c.Subject, []string{"system:authenticated", "system:serviceaccounts", "system:serviceaccounts:" + namespace}), nil
}

const serviceAccountPrefix = "system:serviceaccount:"

// identity has its groups in order, each once.
func identity(name string, groups []string) access.Identity {
	groups = slices.Clone(groups)
	slices.Sort(groups)
	return access.Identity{Name: name, Groups: slices.Compact(groups)}
}

// hasKey reports whether the key of a token is at hand.
func (k *Cluster) hasKey(token *jwt.JSONWebToken) bool {
	s := k.keys.current.Load()
	return s != nil && len(s.keys.Key(token.Headers[0].KeyID)) > 0
}

// until is when what is known of a token has to be found out again.
func (k *Cluster) until(c *claims, keep time.Duration) time.Time {
	until := k.now().Add(keep)
	if end := c.Expiry.Time(); end.Before(until) {
		return end
	}
	return until
}
