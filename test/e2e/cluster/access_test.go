//go:build e2e

package cluster

import (
	"fmt"
	"strings"
	"testing"
)

// whoMayDoWhat: a pod does what its account was granted, and is refused the
// rest in words that say how it is granted.
func whoMayDoWhat(t *testing.T, w *world) {
	refused := func(account, says string, args ...string) {
		t.Helper()
		done := w.cli(t, account, args...)
		if done.code != 1 || !strings.Contains(done.output, says) {
			t.Errorf("artifactstore %s as %s: exit %d\n%s\nwant a refusal that says %q", strings.Join(args, " "), account, done.code, done.output, says)
		}
	}
	push := func(producer string) []string {
		return []string{"push", content, "--producer", producer, "--name", "certificates", "--version", "1", "--retention-class", "release"}
	}
	who := "system:serviceaccount:" + users + ":"
	refused("stranger", "answered 403: The holder of the token may not do this: "+who+"stranger may not create packages.artifactstore.dev named e2e", push("e2e")...)
	refused("producer", "create role ROLE --verb=create --resource=packages.artifactstore.dev --resource-name=other", push("other")...)
	refused("stranger", "answered 403", "pull", "e2e/certificates-release@1", "-d", "/tmp/pulled")
	refused("producer", "answered 403", "events")
	refused("producer", "answered 403", "storage", "verify", "--backend", "general")

	// One who looks after it may do that, and no more.
	w.must(t, "admin", "health")
	w.must(t, "admin", "storage", "probe", "--backend", "general")
	events := w.must(t, "admin", "events")
	if !strings.Contains(events, who+"producer") {
		t.Errorf("the log does not say who pushed:\n%s", events)
	}
	refused("admin", "answered 403", push("e2e")...)

	// No token, one that is not for us, and none that is known.
	pod := w.pod("producer", w.image, "/usr/local/bin/artifactstore", "list")
	pod.Spec.Containers[0].Env[2].Value = ""
	if done := w.finish(t, pod); done.code != 1 || !strings.Contains(done.output, "answered 401") || !strings.Contains(done.output, "set --token-file") {
		t.Errorf("without a token: exit %d\n%s", done.code, done.output)
	}
	pod = w.pod("producer", w.image, "/usr/local/bin/artifactstore", "list")
	pod.Spec.Volumes[1].Projected.Sources[0].ServiceAccountToken.Audience = "somebody-else"
	if done := w.finish(t, pod); done.code != 1 || !strings.Contains(done.output, "answered 401") || !strings.Contains(done.output, "not for the audience artifact-store") {
		t.Errorf("with a token for somebody else: exit %d\n%s", done.code, done.output)
	}

	// What is granted is noticed within seconds.
	w.grantPackages(t, "stranger", "stranger")
	eventually(t, func() error {
		if done := w.cli(t, "stranger", push("stranger")...); done.code != 0 {
			return fmt.Errorf("exit %d: %s", done.code, done.output)
		}
		return nil
	})
	if listed := w.must(t, "stranger", "list"); !strings.Contains(listed, "stranger/certificates  1 ") || strings.Contains(listed, "e2e/") {
		t.Errorf("it lists\n%s", listed)
	}
}
