package wire

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
)

// Digest fields, RFC 9530: dictionaries (RFC 8941) of algorithm to byte
// sequence. "sha-256" is registered there, "blake3" is our own. There are no
// content codings here, so Repr-Digest and Content-Digest mean the same, unless
// a request carries a piece of a file.
const (
	ReprDigest    = "Repr-Digest"
	ContentDigest = "Content-Digest"
)

var fieldAlgorithms = map[string]digest.Algorithm{"sha-256": digest.SHA256, "blake3": digest.BLAKE3}

// FormatDigests writes the digests that are known, "" for none.
func FormatDigests(d digest.Dual) string {
	members := make([]string, 0, 2)
	if !d.SHA256.IsZero() {
		members = append(members, "sha-256=:"+base64.StdEncoding.EncodeToString(d.SHA256.Bytes())+":")
	}
	if !d.BLAKE3.IsZero() {
		members = append(members, "blake3=:"+base64.StdEncoding.EncodeToString(d.BLAKE3.Bytes())+":")
	}
	return strings.Join(members, ", ")
}

// DeclaredDigests reads both fields of a message. Unknown algorithms are
// ignored, as RFC 9530 requires. A known one that is malformed, or two that
// disagree, are an *InvalidError on the field.
func DeclaredDigests(header http.Header) (digest.Dual, error) {
	return DigestsIn(header, ReprDigest, ContentDigest)
}

// DigestsIn reads the given fields, as DeclaredDigests.
func DigestsIn(header http.Header, fields ...string) (digest.Dual, error) {
	var declared digest.Dual
	for _, field := range fields {
		for _, value := range header.Values(field) {
			if err := ParseDigests(value, &declared); err != nil {
				return digest.Dual{}, registry.Invalid(field, "%v", err)
			}
		}
	}
	return declared, nil
}

// ParseDigests adds the digests of one field's value.
func ParseDigests(value string, into *digest.Dual) error {
	for member := range strings.SplitSeq(value, ",") {
		key, item, found := strings.Cut(strings.Trim(member, " \t"), "=")
		algorithm, known := fieldAlgorithms[key]
		if !known {
			continue
		}
		item, _, _ = strings.Cut(item, ";") // parameters are ignored
		encoded, opened := strings.CutPrefix(strings.TrimRight(item, " \t"), ":")
		encoded, closed := strings.CutSuffix(encoded, ":")
		sum, err := base64.StdEncoding.Strict().DecodeString(encoded)
		if !found || !opened || !closed || err != nil || len(sum) != digest.Size {
			return fmt.Errorf("%s must be a byte sequence (RFC 8941) of %d bytes in base64 between colons", key, digest.Size)
		}
		got, err := digest.FromBytes(algorithm, sum)
		if err != nil {
			return err
		}
		declared := &into.SHA256
		if algorithm == digest.BLAKE3 {
			declared = &into.BLAKE3
		}
		if !declared.IsZero() && *declared != got {
			return fmt.Errorf("%s is declared twice with different values", key)
		}
		*declared = got
	}
	return nil
}

// CheckBody has the body fail at its end if it does not match the digests that
// the request declares of it. PUT and PATCH check theirs where bytes are stored.
func CheckBody(r *http.Request) error {
	want, err := DeclaredDigests(r.Header)
	if err == nil && !want.IsZero() {
		r.Body = &digestedBody{r.Body, digest.NewReader(r.Body), want}
	}
	return err
}

type digestedBody struct {
	io.Closer
	from *digest.Reader
	want digest.Dual
}

func (b *digestedBody) Read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	if err == io.EOF && !b.want.Matches(b.from.Sum()) {
		err = registry.Invalid(ContentDigest, "the bytes of the body are %s", b.from.Sum().SHA256)
	}
	return n, err
}
