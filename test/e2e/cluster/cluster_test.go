//go:build e2e

package cluster

import (
	"testing"
)

// TestCluster is one story, in order: each chapter begins where the one before
// left the cluster.
func TestCluster(t *testing.T) {
	w := newWorld(t)
	for _, chapter := range []struct {
		name string
		tell func(*testing.T, *world)
	}{
		{"Install", install},
		{"Restricted", restricted},
		{"SQLiteForSeveral", sqliteForSeveral},
		{"Backends", backends},
		{"PushFromAPod", pushFromAPod},
		{"Access", whoMayDoWhat},
		{"Verification", verification},
		{"Metrics", metrics},
		{"SecretRotation", secretRotation},
		{"RollingUpdate", rollingUpdate},
		{"Eviction", eviction},
		{"KilledLeader", killedLeader},
		{"DatabaseAway", databaseAway},
		{"CertificateRotation", certificateRotation},
		{"Uninstall", uninstall},
	} {
		if !t.Run(chapter.name, func(t *testing.T) { chapter.tell(t, w) }) {
			w.report(t)
			t.FailNow()
		}
	}
}
