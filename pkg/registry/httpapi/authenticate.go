package httpapi

import (
	"context"
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/coulomb/artifact-store/pkg/access"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// open are the addresses that are answered to everybody: what a kubelet, a
// Prometheus or a client that does not know the API yet asks.
var open = map[string]bool{"/livez": true, "/readyz": true, "/metrics": true, "/openapi.json": true}

// challenges are the schemes by which a token is taken (RFC 9110, section
// 11.6.1). Basic is for what knows no other: the password is the token, and
// the user's name is of no account.
var challenges = []string{`Bearer realm="artifact-store"`, `Basic realm="artifact-store", charset="UTF-8"`}

// authenticate finds out who asks, and returns the request with his name in
// its context. Nobody is asked where there is no Authenticator.
func (h *handler) authenticate(r *http.Request) (*http.Request, error) {
	if h.opts.Authenticator == nil || open[r.URL.Path] {
		return r, nil
	}
	token, err := tokenOf(r.Header)
	if err != nil {
		return nil, err
	}
	who, err := h.opts.Authenticator.Authenticate(r.Context(), token)
	if err != nil {
		return nil, err
	}
	ctx := access.WithIdentity(registry.WithActor(r.Context(), who.Name), who)
	return r.WithContext(context.WithValue(ctx, tokenKey{}, token)), nil
}

type tokenKey struct{}

// stillKnown asks anew who holds the token that a long answer began with.
func (h *handler) stillKnown(ctx context.Context) error {
	if h.opts.Authenticator == nil {
		return nil
	}
	token, _ := ctx.Value(tokenKey{}).(storage.Secret)
	_, err := h.opts.Authenticator.Authenticate(ctx, token)
	return err
}

// tokenOf reads the one Authorization field. Nothing of it goes into an error.
func tokenOf(header http.Header) (storage.Secret, error) {
	var none storage.Secret
	fields := header.Values("Authorization")
	if len(fields) == 0 {
		return none, access.Unauthenticated("send a token: Authorization: Bearer <token>, or as the password of Basic")
	}
	if len(fields) > 1 {
		return none, access.Unauthenticated("there must be one Authorization field, not several")
	}
	scheme, value, _ := strings.Cut(fields[0], " ")
	value = strings.Trim(value, " ")
	switch {
	case strings.EqualFold(scheme, "Bearer"):
	case strings.EqualFold(scheme, "Basic"):
		decoded, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			return none, access.Unauthenticated("what follows Basic is not base64")
		}
		var found bool
		if _, value, found = strings.Cut(string(decoded), ":"); !found {
			return none, access.Unauthenticated("what follows Basic is not user:password")
		}
	default:
		return none, access.Unauthenticated("the scheme must be Bearer or Basic")
	}
	if value == "" {
		return none, access.Unauthenticated("the token is empty")
	}
	if len(value) > access.MaxTokenLength {
		return none, access.Unauthenticated("the token is longer than " + byteCount(access.MaxTokenLength))
	}
	if strings.ContainsFunc(value, func(c rune) bool { return c < '!' || c > '~' }) {
		return none, access.Unauthenticated("the token has characters that no token has")
	}
	return storage.NewSecret(value), nil
}
