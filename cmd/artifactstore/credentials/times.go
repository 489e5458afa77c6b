package credentials

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/coulomb/artifact-store/pkg/storage"
)

// Times is what a token says of when it is valid. Nobody has checked it: it serves
// explanations, and to know when another token is needed.
type Times struct {
	// Begins and Expires are zero if the token does not say.
	Begins, Expires time.Time
}

// TimesOf reads a JSON Web Token (RFC 7519); known is false if it is another token.
func TimesOf(token storage.Secret) (times Times, known bool) {
	parts := strings.Split(token.Reveal(), ".")
	if len(parts) != 3 {
		return times, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return times, false
	}
	var claims struct {
		NotBefore float64 `json:"nbf"`
		IssuedAt  float64 `json:"iat"`
		Expires   float64 `json:"exp"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return times, false
	}
	at := func(seconds float64) time.Time {
		if seconds <= 0 || seconds > 1e12 {
			return time.Time{}
		}
		return time.Unix(int64(seconds), 0)
	}
	times = Times{Begins: at(max(claims.NotBefore, claims.IssuedAt)), Expires: at(claims.Expires)}
	return times, true
}
