package credentials

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/storage"
)

func jwt(claims string) storage.Secret {
	encode := base64.RawURLEncoding.EncodeToString
	return storage.NewSecret(encode([]byte(`{"alg":"none"}`)) + "." + encode([]byte(claims)) + "." + encode([]byte("x")))
}

func TestTimesOf(t *testing.T) {
	t.Parallel()
	for claims, want := range map[string]string{
		`{"exp":200,"nbf":100}`:            "100 200",
		`{"exp":200.5,"iat":100,"nbf":50}`: "100 200",
		`{"exp":200}`:                      "- 200",
		`{}`:                               "- -",
		`{"exp":-1}`:                       "- -",
		`{"exp":1e300}`:                    "- -",
		`{"exp":"200"}`:                    "unknown",
		`nonsense`:                         "unknown",
	} {
		times, known := TimesOf(jwt(claims))
		got := "unknown"
		if known {
			got = seconds(times.Begins) + " " + seconds(times.Expires)
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", claims, got, want)
		}
	}
	for _, opaque := range []string{"", "opaque", "a.b", "a.!.c", "a.b.c.d"} {
		if _, known := TimesOf(storage.NewSecret(opaque)); known {
			t.Errorf("%q is taken for a JSON Web Token", opaque)
		}
	}
}

func seconds(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return fmt.Sprint(t.Unix())
}

// TestRenewed: a token is got once, and again when it is about to expire.
func TestRenewed(t *testing.T) {
	t.Parallel()
	now := time.Now()
	tokens := []storage.Secret{
		jwt(fmt.Sprintf(`{"exp":%d}`, now.Add(10*time.Second).Unix())),
		jwt(fmt.Sprintf(`{"exp":%d}`, now.Add(time.Hour).Unix())),
	}
	got := 0
	broken := errors.New("broken")
	source := Renewed(func() (storage.Secret, error) {
		if got == len(tokens) {
			return storage.Secret{}, broken
		}
		got++
		return tokens[got-1], nil
	})
	for i, want := range []storage.Secret{tokens[0], tokens[1], tokens[1], tokens[1]} {
		if token, err := source(); err != nil || token != want {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if got != 2 {
		t.Errorf("%d tokens were got", got)
	}
	if _, err := Renewed(func() (storage.Secret, error) { return storage.Secret{}, broken })(); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

// TestRead: exactly one token, and no error that shows it.
func TestRead(t *testing.T) {
	t.Parallel()
	if token, err := Read(strings.NewReader(" \nthe-token\r\n"), "x"); err != nil || token.Reveal() != "the-token" {
		t.Errorf("got %v", err)
	}
	for text, want := range map[string]string{
		"": "is empty", " \n": "is empty", "the-token another": "exactly one", "the-tökén": "exactly one", strings.Repeat("x", 17<<10): "larger",
	} {
		if _, err := Read(strings.NewReader(text), "x"); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "the-t") {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}
