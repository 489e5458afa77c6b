//go:build e2e

package cluster

import "testing"

// TestUpgrade is a story of its own: two replicas of the first release are
// updated to this version while pods push and pull.
func TestUpgrade(t *testing.T) {
	w := newWorld(t)
	w.after, w.image = w.image, setting(t, "E2E_IMAGE_BASE")
	for _, chapter := range []struct {
		name string
		tell func(*testing.T, *world)
	}{
		{"Install", install},
		{"Backends", backends},
		{"PushFromAPod", pushFromAPod}, // both backends hold packages that the first release took in
		{"RollingUpdate", rollingUpdate},
		{"Afterwards", upgraded},
		{"Uninstall", uninstall},
	} {
		if !t.Run(chapter.name, func(t *testing.T) { chapter.tell(t, w) }) {
			w.report(t)
			t.FailNow()
		}
	}
}

// upgraded: what was pushed before, through the old version and during the
// update is there, once, and its bytes are intact.
func upgraded(t *testing.T, w *world) {
	w.must(t, "load", "list")
	for _, class := range []string{"release", "evidence"} {
		w.must(t, "producer", "manifest", "verify", "e2e/certificates-"+class+"@1", content)
	}
	w.must(t, "admin", "storage", "verify", "--backend", "general")
	pod := w.waitReady(t)[0].Name
	if output, err := w.run(t, w.kubectl, "-n", system, "exec", pod, "--", "/usr/local/bin/manager", "views", "check"); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}
