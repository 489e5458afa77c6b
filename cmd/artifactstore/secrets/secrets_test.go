package secrets

import (
	"strings"
	"testing"
)

func TestIsPrivateKey(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"-----BEGIN PRIVATE KEY-----\nMII", "-----BEGIN RSA PRIVATE KEY-----", "-----BEGIN EC PRIVATE KEY-----\r\n", "-----BEGIN ENCRYPTED PRIVATE KEY-----",
		"-----BEGIN OPENSSH PRIVATE KEY-----\n", "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n", "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\n",
		"PuTTY-User-Key-File-2: ssh-rsa\n", "PuTTY-User-Key-File-3: ssh-ed25519\n", "\xef\xbb\xbf-----BEGIN PRIVATE KEY-----\n", "  -----BEGIN DSA PRIVATE KEY-----",
		"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n-----BEGIN EC PRIVATE KEY-----\n",
	} {
		if !IsPrivateKey([]byte(text)) {
			t.Errorf("%q is not recognized", text)
		}
	}
	for _, text := range []string{
		"", "-----BEGIN PUBLIC KEY-----", "-----BEGIN CERTIFICATE-----", "-----BEGIN PGP PUBLIC KEY BLOCK-----", "ssh-ed25519 AAAA", "PRIVATE KEY", "-----BEGIN PRIVATE KEY",
		"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n", "a file about -----BEGIN PRIVATE KEY-----", "\n-----BEGIN PRIVATE KEY-----", strings.Repeat(" ", KeyBytes) + "-----BEGIN PRIVATE KEY-----",
	} {
		if IsPrivateKey([]byte(text)) {
			t.Errorf("%q is recognized", text)
		}
	}
}

func TestIsEnvironment(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{".env": true, ".env.local": true, ".env.production.local": true, ".env.example": false, "env": false, ".environment": false, "x.env": false} {
		if IsEnvironment(name) != want {
			t.Errorf("%s: %t", name, !want)
		}
	}
}

func TestHasValue(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"": false, "\n# KEY=value\n": false, "KEY=\n": false, "KEY=\"\"\nB=''\n": false, "KEY= # none\n": false, "export KEY=\r\n": false, "no assignment\n": false,
		"KEY=value": true, "\ufeffTOKEN=abc\n": true, "A+=b": true, "declare -x A=b": true, "A[0]=x": true, "clé=secret": true, "A=\nexport KEY='x'\n": true, "KEY: value\n": true, "my.key-1 = 2": true, "KEY=\"\" x": true, strings.Repeat("x", maxLine+1): true,
	} {
		got, err := HasValue(strings.NewReader(text))
		if err != nil || got != want {
			t.Errorf("%.40q: %t, %v", text, got, err)
		}
	}
}
