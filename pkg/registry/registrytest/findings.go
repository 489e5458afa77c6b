package registrytest

import (
	"errors"
	"slices"
	"strings"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/verify"
)

func recordFindings(s suite) {
	s.push(version("1"), file{"a", "a", false}, file{"b", "b", false}, file{"c", "c", false})
	before := s.head()
	a, b, c := digest.Of([]byte("a")).SHA256, digest.Of([]byte("b")).SHA256, digest.Of([]byte("c")).SHA256
	found := registry.VerifyFindings{Position: before, Verified: []digest.Digest{a}, Failed: []registry.FailedLocation{
		{SHA256: b, Reason: "corrupt", Detail: "0 bytes, want 1"}, {SHA256: c, Reason: "missing"}}}
	recorded, err := s.r.RecordFindings(s.ctx, First, found)
	s.must(err)
	equal(s, "recorded", recorded, registry.RecordedFindings{Recorded: 3})
	page, err := s.r.ReadEvents(s.ctx, registry.EventQuery{After: before})
	s.must(err)
	var kinds []string
	for _, e := range page.Events {
		kinds = append(kinds, e.Kind)
	}
	equal(s, "events", strings.Join(kinds, " "), "v1.storage.location_verified v1.storage.location_failed v1.storage.location_failed")
	backend, err := s.r.GetBackend(s.ctx, First)
	s.must(err)
	equal(s, "corrupt", backend.Findings.Corrupt, 1)
	equal(s, "missing", backend.Findings.Missing, 1)

	// A report that is sent again says nothing new.
	after := s.head()
	recorded, err = s.r.RecordFindings(s.ctx, First, found)
	s.must(err)
	equal(s, "recorded again", recorded, registry.RecordedFindings{Superseded: 3})
	equal(s, "head", s.head(), after)
}

func refusedFindings(s suite) {
	s.push(version("1"), file{"a", "a", false})
	other := version("2")
	other.RetentionClass = SecondClass
	s.push(other, file{"b", "b", false})
	head := s.head()
	a, b := digest.Of([]byte("a")).SHA256, digest.Of([]byte("b")).SHA256
	failed := func(d digest.Digest, reason, detail string) []registry.FailedLocation {
		return []registry.FailedLocation{{SHA256: d, Reason: reason, Detail: detail}}
	}
	for i, tt := range []struct {
		field string
		found registry.VerifyFindings
	}{
		{"verified", registry.VerifyFindings{Position: head}},
		{"verified[1]", registry.VerifyFindings{Position: head, Verified: []digest.Digest{a, b}}}, // b is in Second
		{"failed[0]", registry.VerifyFindings{Position: head, Verified: []digest.Digest{a}, Failed: failed(digest.Of([]byte("absent")).SHA256, "missing", "")}},
		{"verified[0]", registry.VerifyFindings{Position: head, Verified: []digest.Digest{digest.Of([]byte("a")).BLAKE3}}},
		{"verified[1]", registry.VerifyFindings{Position: head, Verified: []digest.Digest{a, a}}},
		{"failed[0].sha256", registry.VerifyFindings{Position: head, Verified: []digest.Digest{a}, Failed: failed(a, "missing", "")}},
		{"failed[0].sha256", registry.VerifyFindings{Position: head, Failed: failed(digest.Digest{}, "missing", "")}},
		{"failed[0].reason", registry.VerifyFindings{Position: head, Failed: failed(a, "unreachable", "")}},
		{"failed[0].detail", registry.VerifyFindings{Position: head, Failed: failed(a, "corrupt", strings.Repeat("x", verify.MaxDetail+1))}},
		{"run", registry.VerifyFindings{Position: head, Verified: []digest.Digest{a}, Run: "\x1b[31m"}},
		{"run", registry.VerifyFindings{Position: head, Verified: []digest.Digest{a}, Run: "one\ntwo"}},
		{"position", registry.VerifyFindings{Position: head + 1, Verified: []digest.Digest{a}}},
		{"verified", registry.VerifyFindings{Position: head, Verified: slices.Repeat([]digest.Digest{a}, verify.MaxVerified+1)}},
		{"failed", registry.VerifyFindings{Position: head, Failed: slices.Repeat(failed(a, "missing", ""), verify.MaxFailed+1)}},
	} {
		_, err := s.r.RecordFindings(s.ctx, First, tt.found)
		var invalid *registry.InvalidError
		if !errors.As(err, &invalid) || invalid.Field != tt.field || invalid.Message == "" {
			s.Errorf("%d: got %v, want an InvalidError on %s", i, err, tt.field)
		}
	}
	equal(s, "head", s.head(), head)
	// The log keeps a detail for ever: what a terminal would obey is escaped in it.
	_, err := s.r.RecordFindings(s.ctx, First, registry.VerifyFindings{Position: head, Failed: failed(a, "corrupt", "\x1b[31mred\a\nö\u202e")})
	s.must(err)
	page, err := s.r.ReadEvents(s.ctx, registry.EventQuery{After: head})
	s.must(err)
	text := ""
	for _, event := range page.Events {
		data, err := event.JSON()
		s.must(err)
		text += string(data)
	}
	if !strings.Contains(text, `\\x1b[31mred\\a\\nö\\u202e`) {
		s.Errorf("the log says %s", text)
	}
}

func supersededFindings(s suite) {
	s.push(version("1"), file{"a", "a", false}, file{"b", "b", false})
	a, b := digest.Of([]byte("a")).SHA256, digest.Of([]byte("b")).SHA256
	old := s.head()
	s.Damage(s.T, a)
	_, err := s.r.VerifyBackend(s.ctx, First, registry.VerifyOptions{}, nil)
	s.must(err)
	// Someone read a before it was damaged, and says so now.
	late := registry.VerifyFindings{Position: old, Verified: []digest.Digest{a}}
	recorded, err := s.r.RecordFindings(s.ctx, First, late)
	s.must(err)
	equal(s, "recorded", recorded, registry.RecordedFindings{Superseded: 1})
	status, err := s.r.GetBackend(s.ctx, First)
	s.must(err)
	equal(s, "verified", status.Verified, "False")
	// Someone missed a before it was stored again.
	old = s.head()
	s.push(version("1"), file{"a", "a", false}, file{"b", "b", false})
	recorded, err = s.r.RecordFindings(s.ctx, First, registry.VerifyFindings{Position: old, Verified: []digest.Digest{b}, Failed: []registry.FailedLocation{{SHA256: a, Reason: "missing"}}})
	s.must(err)
	equal(s, "recorded", recorded, registry.RecordedFindings{Recorded: 1, Superseded: 1})
	equal(s, "healed", s.read(a, nil), "a")
}
