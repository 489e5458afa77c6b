package manifest_test

import (
	"testing"

	"github.com/coulomb/artifact-store/pkg/manifest"
)

func TestVersionOf(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]*manifest.Manifest{ // of version 1
		"bare": {Producer: "p", Name: "n", Version: "1"},
		"full": {Producer: "p", Name: "n", Version: "1", MediaType: "text/plain", Annotations: map[string]string{"schemaVersion": "7"}},
	} {
		encoded, err := manifest.Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := manifest.VersionOf(encoded); err != nil || got != 1 {
			t.Errorf("%s: version %d, expected 1: %v", name, got, err)
		}
		encoded[len(encoded)-1] = 9
		if got, err := manifest.VersionOf(encoded); err != nil || got != 9 {
			t.Errorf("%s: version %d, expected 9: %v", name, got, err)
		}
	}
	for _, bad := range []string{"", "schemaVersion", "mschemaVersion\x18\x18", "\xa1\x64name\x01"} {
		if got, err := manifest.VersionOf([]byte(bad)); err == nil {
			t.Errorf("%q has version %d", bad, got)
		}
	}
}
