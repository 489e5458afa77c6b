package serving

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/coulomb/artifact-store/pkg/access"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// Challenges of the schemes that a token may be sent by (WWW-Authenticate, RFC
// 9110, section 11.6.1). Basic is for clients that support no other: the
// password is the token, and the user name is ignored.
const (
	BearerChallenge = `Bearer realm="artifact-store"`
	BasicChallenge  = `Basic realm="artifact-store", charset="UTF-8"`
)

// Gate authenticates requests. Authorization is up to access.Guard.
type Gate struct {
	// Authenticator says who holds a token; nil admits everybody, without a name.
	Authenticator access.Authenticator
	// Open are the addresses that need no token.
	Open map[string]bool
}

// admit returns the request with the caller's identity in its context.
func (g *Gate) admit(r *http.Request) (*http.Request, error) {
	if g.Authenticator == nil || g.Open[r.URL.Path] {
		return r, nil
	}
	token, err := tokenOf(r.Header)
	if err != nil {
		return nil, err
	}
	who, err := g.Authenticator.Authenticate(r.Context(), token)
	if err != nil {
		return nil, err
	}
	ctx := access.WithIdentity(r.Context(), who)
	return r.WithContext(context.WithValue(ctx, tokenKey{}, token)), nil
}

// holderOf says with whom the caller shares what is scarce: its identity, or
// where nobody is asked for one its address. Of those on this machine each
// connection counts by itself. Of an IPv6 address the first 64 bits count: one
// machine has all that begin with them.
func holderOf(r *http.Request) string {
	if who, known := access.IdentityOf(r.Context()); known && who.Name != "" {
		return who.Name
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil || IsLoopback(host) {
		return r.RemoteAddr
	}
	if address, err := netip.ParseAddr(host); err == nil && address.Is6() && !address.Is4In6() {
		if network, err := address.WithZone("").Prefix(64); err == nil {
			return network.String()
		}
	}
	return host
}

type tokenKey struct{}

// StillKnown authenticates again the token that a long answer began with.
func (g *Gate) StillKnown(ctx context.Context) error {
	if g.Authenticator == nil {
		return nil
	}
	token, _ := ctx.Value(tokenKey{}).(storage.Secret)
	_, err := g.Authenticator.Authenticate(ctx, token)
	return err
}

// tokenOf reads the Authorization header. No part of it goes into an error.
func tokenOf(header http.Header) (storage.Secret, error) {
	var none storage.Secret
	fields := header.Values("Authorization")
	if len(fields) == 0 {
		return none, access.Unauthenticated("send a token, as Authorization: Bearer <token> or as the password of Basic authentication")
	}
	if len(fields) > 1 {
		return none, access.Unauthenticated("there must be one Authorization header, not several")
	}
	scheme, value, _ := strings.Cut(fields[0], " ")
	value = strings.Trim(value, " ")
	switch {
	case strings.EqualFold(scheme, "Bearer"):
	case strings.EqualFold(scheme, "Basic"):
		decoded, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			return none, access.Unauthenticated("the Basic credentials are not base64")
		}
		var found bool
		if _, value, found = strings.Cut(string(decoded), ":"); !found {
			return none, access.Unauthenticated("the Basic credentials are not user:password")
		}
	default:
		return none, access.Unauthenticated("the scheme must be Bearer or Basic")
	}
	if value == "" {
		return none, access.Unauthenticated("the token is empty")
	}
	if len(value) > access.MaxTokenLength {
		return none, access.Unauthenticated(fmt.Sprintf("the token is longer than %d bytes", access.MaxTokenLength))
	}
	if strings.ContainsFunc(value, func(c rune) bool { return c < '!' || c > '~' }) {
		return none, access.Unauthenticated("the token contains invalid characters")
	}
	return storage.NewSecret(value), nil
}
