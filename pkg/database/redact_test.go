package database

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// TestRedactionStaysReadable: a password that is part of every message is
// masked where it stands alone, and nothing is masked twice.
func TestRedactionStaysReadable(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ url, text, want string }{
		{"postgres://u:e@h/db", "the server refused the connection: password e", "the server refused the connection: password xxxxx"},
		{"postgres://u:x@h/db", `cannot parse "postgres://u:x@h/db": next`, `cannot parse "postgres://u:xxxxx@h/db": next`},
		{"postgres://u:x@h/db?password=xx", "x xx xxx", "xxxxx xxxxx xxx"},
		{"postgres://u:hunter2!hunter2@h/db", "a:hunter2!hunter2b", "a:xxxxxb"},
		{"postgres://u:hunter2!%2F@h/db", "as hunter2%21%2F and hunter2!/", "as xxxxx and xxxxx"},
		{"postgres://u@h/db?sslpassword=%C3%A9", "\u00e9 caf\u00e9", "xxxxx caf\u00e9"},
		{"postgres://u@h/db", "nothing to hide", "nothing to hide"},
	} {
		parsed, err := url.Parse(tt.url)
		if err != nil {
			t.Fatal(err)
		}
		if got := redactor(parsed)(errors.New(tt.text)); got.Error() != tt.want {
			t.Errorf("%s: %q became %q, want %q", tt.url, tt.text, got, tt.want)
		}
	}
	// As long as it takes for each letter to be masked again and again.
	parsed, err := url.Parse("postgres://u:x@h/db?password=x&sslpassword=xx")
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x ", 1000)
	if got := redactor(parsed)(errors.New(long)); len(got.Error()) > 6*1000 {
		t.Errorf("%d bytes became %d", len(long), len(got.Error()))
	}
}

// typed is an error that a caller takes apart.
type typed struct{ field string }

func (t *typed) Error() string { return t.field + ": is not valid" }

// TestRedactedErrorsKeepTheirType: callers find what an error is, and no password in it.
func TestRedactedErrorsKeepTheirType(t *testing.T) {
	t.Parallel()
	parsed, err := url.Parse("postgres://u:files@h/db")
	if err != nil {
		t.Fatal(err)
	}
	redact := redactor(parsed)
	if found, is := errors.AsType[*typed](redact(fmt.Errorf("a transaction: %w", &typed{"files"}))); !is || found.field != "files" {
		t.Errorf("got %v, %t", found, is)
	}
	away := redact(&UnavailableError{Reason: "the database is read-only", Reads: true, cause: errors.New("connecting with files")})
	found, is := errors.AsType[*UnavailableError](away)
	if !is || found.Reason != "the database is read-only" || !found.Reads || strings.Contains(found.Error(), "files") {
		t.Errorf("got %v, %t", found, is)
	}
	if found, is := errors.AsType[*pgconn.PgError](redact(&pgconn.PgError{Message: "files"})); is {
		t.Errorf("got %v", found)
	}
}
