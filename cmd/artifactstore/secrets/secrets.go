// Package secrets recognizes files that are hardly ever meant to be published: private
// keys and files of environment variables.
package secrets

import (
	"bufio"
	"bytes"
	"io"
	"regexp"
	"strings"
)

// KeyBytes of a file are enough for IsPrivateKey.
const KeyBytes = 512

// keyLine is the first line of a private key in PEM (RFC 7468), of OpenSSH, OpenPGP and
// SSH2 (RFC 4716 has only public ones, ssh.com's program the same form), and of PuTTY. Before
// a key of an elliptic curve OpenSSL writes which curve it is.
var keyLine = regexp.MustCompile(`^(?:-----BEGIN EC PARAMETERS-----[\sA-Za-z0-9+/=]+-----END EC PARAMETERS-----\s+)?(-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY( BLOCK)?-----|---- BEGIN SSH2 ([A-Z0-9]+ )*PRIVATE KEY ----|PuTTY-User-Key-File-[0-9]+:)`)

// IsPrivateKey decides by the first line, of which begin has KeyBytes or all.
func IsPrivateKey(begin []byte) bool {
	begin = bytes.TrimPrefix(begin[:min(len(begin), KeyBytes)], []byte("\xef\xbb\xbf")) // a byte order mark
	return keyLine.Match(bytes.TrimLeft(begin, " \t"))
}

// IsEnvironment reports whether a file of that name has environment variables: .env and
// .env.*, but not .env.example, which is meant to be published.
func IsEnvironment(base string) bool {
	return base == ".env" || strings.HasPrefix(base, ".env.") && base != ".env.example"
}

// maxLine of such a file, in bytes.
const maxLine = 1 << 20

var assignment = regexp.MustCompile(`^\s*(?:(?:export|declare|typeset|set)\s+(?:-\w+\s+)*)?[\pL\w.\[\]-]+\s*(?:\+?=|:)(.*)$`)

// HasValue reports whether a file of environment variables gives one of them a value.
// A line that is too long to be read counts as one.
func HasValue(content io.Reader) (bool, error) {
	lines := bufio.NewScanner(content)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		if is := assignment.FindStringSubmatch(strings.TrimPrefix(lines.Text(), "\ufeff")); is != nil && !isEmpty(is[1]) {
			return true, nil
		}
	}
	if err := lines.Err(); err != bufio.ErrTooLong { //nolint:errorlint // Scanner does not wrap
		return false, err
	}
	return true, nil
}

// isEmpty reports whether a value is nothing, perhaps in quotes and with a comment.
func isEmpty(value string) bool {
	value = strings.TrimSpace(value)
	for _, quote := range []string{`"`, `'`} {
		if rest, quoted := strings.CutPrefix(value, quote+quote); quoted {
			value = strings.TrimSpace(rest)
		}
	}
	return value == "" || strings.HasPrefix(value, "#")
}
