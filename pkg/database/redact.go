package database

import (
	"cmp"
	"errors"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
)

// wordSecret is the length, in bytes, below which a secret is masked as a word
// only: a password of one letter is part of every message, and without that
// letter no message could be read. It stands alone where a message quotes it.
const wordSecret = 8

// redactor returns a function that masks the URL's passwords in an error; other errors pass unchanged.
func redactor(parsed *url.URL) func(error) error {
	var secrets []string
	add := func(forms ...string) {
		for _, form := range forms {
			if form != "" && !slices.Contains(secrets, form) {
				secrets = append(secrets, form)
			}
		}
	}
	if password, set := parsed.User.Password(); set {
		add(password, url.QueryEscape(password), url.PathEscape(password))
		if _, escaped, found := strings.Cut(parsed.User.String(), ":"); found {
			add(escaped)
		}
	}
	query := parsed.Query()
	for _, key := range []string{"password", "sslpassword"} {
		for _, value := range query[key] {
			add(value, url.QueryEscape(value))
		}
		if query.Has(key) {
			query.Set(key, "xxxxx")
		}
	}
	parsed.RawQuery = query.Encode() // so that Redacted masks these too
	// The longest first: one form may begin another.
	slices.SortFunc(secrets, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return func(err error) error {
		if err == nil {
			return nil
		}
		text := err.Error()
		if masked := mask(text, secrets); masked != text {
			return &redactedError{masked, err}
		}
		return err
	}
}

// mask replaces the secrets in one pass, so that what replaces one is not searched for the next.
func mask(text string, secrets []string) string {
	var out strings.Builder
	for at := 0; at < len(text); {
		found := slices.IndexFunc(secrets, func(secret string) bool {
			return strings.HasPrefix(text[at:], secret) && (len(secret) >= wordSecret || isWord(text, at, at+len(secret)))
		})
		if found < 0 {
			out.WriteByte(text[at])
			at++
			continue
		}
		out.WriteString("xxxxx")
		at += len(secrets[found])
	}
	return out.String()
}

// isWord reports whether no letter or digit is beside a part of the text.
func isWord(text string, from, to int) bool {
	before, _ := utf8.DecodeLastRuneInString(text[:from])
	after, _ := utf8.DecodeRuneInString(text[to:])
	inWord := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
	return !inWord(before) && !inWord(after)
}

// redactedError keeps errors.Is and errors.As for what it wraps, but does not unwrap:
// printing the chain must not reveal the password, so As does not give the errors
// that speak of connections.
type redactedError struct {
	text  string
	cause error
}

func (e *redactedError) Error() string        { return e.text }
func (e *redactedError) Is(target error) bool { return errors.Is(e.cause, target) }
func (e *redactedError) As(target any) bool {
	switch target := target.(type) {
	case **pgconn.ConnectError, **pgconn.ParseConfigError, **pgconn.PgError:
		return false
	case **UnavailableError:
		found, is := errors.AsType[*UnavailableError](e.cause)
		if is {
			*target = &UnavailableError{Reason: found.Reason, Reads: found.Reads, cause: errors.New(e.text)}
		}
		return is
	}
	return errors.As(e.cause, target)
}
