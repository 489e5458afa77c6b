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
// must never be used as a shared secret.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512}

// keyset is what the API server publishes for verifying tokens.
type keyset struct {
	issuer string
	keys   jose.JSONWebKeySet
}

// keyring holds the latest keyset.
type keyring struct{ current atomic.Pointer[keyset] }

func (r *keyring) set(s *keyset) { r.current.Store(s) }

// fetchKeys reads issuer and keys from the API server itself: the document's
// jwks_uri may be an address that is reachable only from outside.
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

// claims are the parts of a token that are used.
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
// valid whoever signed it, so that the API server is not asked about it.
func (k *Cluster) parse(text string) (*jwt.JSONWebToken, *claims, error) {
	token, err := jwt.ParseSigned(text, algorithms)
	if err != nil {
		return nil, nil, access.Unauthenticated("the token is not a Kubernetes token")
	}
	var c claims
	if err := token.UnsafeClaimsWithoutVerification(&c); err != nil {
		return nil, nil, access.Unauthenticated("the token is not a Kubernetes token")
	}
	switch {
	case !c.Audience.Contains(k.audience):
		return nil, nil, access.Unauthenticated("the token is not for the audience " + k.audience)
	case c.Expiry == nil:
		return nil, nil, access.Unauthenticated("the token has no expiry: request one with an audience")
	case !k.now().Before(c.Expiry.Time()):
		return nil, nil, access.Unauthenticated("the token has expired")
	}
	return token, &c, nil
}

// errNoKey: the token may be valid, but the key that signed it is not known here.
var errNoKey = errors.New("the key that signed the token is not known here")

// errSignature: the key is known, but did not sign this.
var errSignature = access.Unauthenticated("the token's signature is invalid")

// verify finds the holder of a token by keys alone: it checks signature, issuer,
// audience, times, and the form of a ServiceAccount's name. Errors are errNoKey
// or an *access.UnauthenticatedError.
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
		return access.Identity{}, access.Unauthenticated("the token is not valid yet")
	}
	return serviceAccount(&c)
}

// serviceAccount is the identity that Kubernetes gives to a ServiceAccount.
func serviceAccount(c *claims) (access.Identity, error) {
	namespace, name, found := strings.Cut(strings.TrimPrefix(c.Subject, serviceAccountPrefix), ":")
	if !strings.HasPrefix(c.Subject, serviceAccountPrefix) || !found || namespace == "" || name == "" || strings.Contains(name, ":") ||
		c.Kubernetes == nil || c.Kubernetes.Namespace != namespace || c.Kubernetes.ServiceAccount.Name != name {
		return access.Identity{}, access.Unauthenticated("the token does not belong to a ServiceAccount")
	}
	return identity(c.Subject, []string{"system:authenticated", "system:serviceaccounts", "system:serviceaccounts:" + namespace}), nil
}

const serviceAccountPrefix = "system:serviceaccount:"

// identity sorts the groups and removes duplicates.
func identity(name string, groups []string) access.Identity {
	groups = slices.Clone(groups)
	slices.Sort(groups)
	return access.Identity{Name: name, Groups: slices.Compact(groups)}
}

// hasKey reports whether the key that signed a token is known.
func (k *Cluster) hasKey(token *jwt.JSONWebToken) bool {
	s := k.keys.current.Load()
	return s != nil && len(s.keys.Key(token.Headers[0].KeyID)) > 0
}

// until is when the result for a token must be renewed.
func (k *Cluster) until(c *claims, keep time.Duration) time.Time {
	until := k.now().Add(keep)
	if end := c.Expiry.Time(); end.Before(until) {
		return end
	}
	return until
}
