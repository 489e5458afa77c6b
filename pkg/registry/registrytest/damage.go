package registrytest

import (
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
)

// listedAsDamaged: the files a and b of version 1, and nothing else.
func (s suite) listedAsDamaged(corrupt, missing digest.Digest) {
	s.Helper()
	ref := version("1").PackageRef
	for _, filter := range []registry.DamageFilter{{}, {Producer: ref.Producer}, {Producer: ref.Producer, Name: ref.Name}, {Producer: ref.Producer, Name: ref.Name, Version: ref.Version}} {
		filter.Limit = 1
		var all []registry.DamagedFile
		for {
			page, err := s.r.ListDamaged(s.ctx, filter)
			s.must(err)
			all = append(all, page.Damaged...)
			if page.Next == "" {
				break
			}
			filter.After = page.Next
		}
		if len(all) != 2 {
			s.Fatalf("%+v: got %+v", filter, all)
		}
		for i, want := range []registry.DamagedFile{{Path: "a", SHA256: corrupt, Reason: "corrupt"}, {Path: "b", SHA256: missing, Reason: "missing"}} {
			got := all[i]
			if got.Path != want.Path || got.SHA256 != want.SHA256 || got.Reason != want.Reason || got.PackageRef != ref || got.Backend != First || got.BackendID == "" || got.Size != 7 || got.Since.IsZero() {
				s.Fatalf("got %+v, want %+v", got, want)
			}
		}
	}
	for _, filter := range []registry.DamageFilter{{Producer: "other"}, {Producer: ref.Producer, Name: ref.Name, Version: "9"}} {
		page, err := s.r.ListDamaged(s.ctx, filter)
		s.must(err)
		equal(s, "damaged files of others", len(page.Damaged), 0)
	}
	_, err := s.r.ListDamaged(s.ctx, registry.DamageFilter{Name: ref.Name})
	s.invalid(err, "producer")
	_, err = s.r.ListDamaged(s.ctx, registry.DamageFilter{After: "nonsense"})
	s.invalid(err, "after")
}
