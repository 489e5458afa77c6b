package kubernetes

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/time/rate"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/pkg/access"
	"github.com/coulomb/artifact-store/test/servers"
)

func (w *world) authorize(account, verb, producer string) error {
	return w.cluster.Authorize(w.ctx, w.user(account), access.Action{Verb: verb, Resource: access.Packages, Name: producer})
}

// TestDecisions has a real API server decide by a Role.
func TestDecisions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.account("pusher")
	w.role("push", "pusher", []string{access.Create, access.Get}, "team-a")
	w.role("list", "pusher", []string{access.List})
	// Roles reach the authorizer by a watch.
	w.eventually("the Role is not known", func() bool {
		w.advance(deniedFor)
		return w.authorize("pusher", access.Create, "team-a") == nil && w.authorize("pusher", access.List, "any") == nil
	})
	w.is("get", w.authorize("pusher", access.Get, "team-a"), nil)
	w.is("list all", w.authorize("pusher", access.List, ""), nil)
	err := w.authorize("pusher", access.Create, "team-b")
	w.is("another producer", err, access.ErrForbidden)
	if !strings.Contains(err.Error(), "--resource-name=team-b;") {
		t.Errorf("it would grant another right: %v", err)
	}
	if again := w.authorize("pusher", access.Create, "team-b"); again == nil || again.Error() != err.Error() {
		t.Errorf("asked again it says %v, first %v", again, err)
	}
	w.is("delete", w.authorize("pusher", access.Delete, "team-a"), access.ErrForbidden)
	w.is("all of them", w.authorize("pusher", access.Get, ""), access.ErrForbidden)
	w.is("somebody else", w.authorize("other", access.Get, "team-a"), access.ErrForbidden)
	w.is("another resource", w.cluster.Authorize(w.ctx, w.user("pusher"), access.Action{Verb: access.Get, Resource: access.Events}), access.ErrForbidden)
	// Rights of other namespaces count for nothing here.
	elsewhere := newWorld(t)
	w.is("in another namespace", elsewhere.cluster.Authorize(w.ctx, w.user("pusher"), access.Action{Verb: access.Get, Resource: access.Packages, Name: "team-a"}), access.ErrForbidden)

	// The error says how the right is given: do as it says.
	_, command, _ := strings.Cut(err.Error(), "To allow it: ")
	for line := range strings.SplitSeq(strings.NewReplacer(" ROLE", " granted", "=ROLE", "=granted", "BINDING", "granted").Replace(command), "; ") {
		w.kubectl(strings.Fields(line)...)
	}
	w.eventually("what the error says does not help", func() bool {
		w.advance(deniedFor)
		return w.authorize("pusher", access.Create, "team-b") == nil
	})
}

// kubectl runs the program as an administrator.
func (w *world) kubectl(words ...string) {
	w.Helper()
	file := filepath.Join(w.TempDir(), "kubeconfig")
	w.must(os.WriteFile(file, plane.kubeconfig, 0o600))
	if words[0] != "kubectl" {
		w.Fatalf("%q is no command of kubectl", words)
	}
	command := exec.Command(servers.Kubectl(w), words[1:]...)
	command.Env = append(os.Environ(), "KUBECONFIG="+file, "HOME="+w.TempDir())
	if output, err := command.CombinedOutput(); err != nil {
		w.Fatalf("%q: %v\n%s", words, err, output)
	}
}

// TestRoleByKubectl is how one grants a producer, word for word.
func TestRoleByKubectl(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.account("ci")
	w.kubectl("kubectl", "create", "role", "team-a-push", "--verb=create,get,list", "--resource=packages.artifactstore.dev", "--resource-name=team-a", "-n", w.namespace)
	w.kubectl("kubectl", "create", "rolebinding", "team-a-push", "--role=team-a-push", "--serviceaccount="+w.namespace+":ci", "-n", w.namespace)
	for _, verb := range []string{access.Create, access.Get, access.List} {
		w.eventually("it may not "+verb, func() bool {
			w.advance(deniedFor)
			return w.authorize("ci", verb, "team-a") == nil
		})
		w.is(verb+" of another", w.authorize("ci", verb, "team-b"), access.ErrForbidden)
	}
	// The kind is there to be named; there are no objects of it.
	file := filepath.Join(t.TempDir(), "package.yaml")
	w.must(os.WriteFile(file, []byte("apiVersion: artifactstore.dev/v1alpha1\nkind: Package\nmetadata: {name: team-a}\n"), 0o600))
	admin := filepath.Join(t.TempDir(), "kubeconfig")
	w.must(os.WriteFile(admin, plane.kubeconfig, 0o600))
	command := exec.Command(servers.Kubectl(t), "create", "-n", w.namespace, "-f", file)
	command.Env = append(os.Environ(), "KUBECONFIG="+admin, "HOME="+t.TempDir())
	if output, err := command.CombinedOutput(); err == nil || !strings.Contains(string(output), "packages are kept by the registry") {
		t.Errorf("a Package was made: %v\n%s", err, output)
	}
}

// TestDecisionsAreKept: an allow for a minute, a deny for seconds, and those
// who come together wait for one answer.
func TestDecisionsAreKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.account("pusher")
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() { w.is("before there is a Role", w.authorize("pusher", access.Get, "a"), access.ErrForbidden) })
	}
	group.Wait()
	if n := w.gate.count("subjectaccessreviews"); n != 1 {
		t.Errorf("%d reviews for one question", n)
	}
	w.role("get", "pusher", []string{access.Get}, "a")
	w.eventually("a right that was given does not begin", func() bool {
		w.advance(deniedFor)
		return w.authorize("pusher", access.Get, "a") == nil
	})
	n := w.gate.count("subjectaccessreviews")
	w.must(plane.admin.RbacV1().RoleBindings(w.namespace).Delete(w.ctx, "get", metav1.DeleteOptions{}))
	w.advance(allowedFor - time.Second)
	w.is("what was allowed a moment ago", w.authorize("pusher", access.Get, "a"), nil)
	if w.gate.count("subjectaccessreviews") != n {
		t.Error("what was allowed a moment ago was asked again")
	}
	w.eventually("a right that was taken away does not end", func() bool {
		w.advance(allowedFor)
		return w.authorize("pusher", access.Get, "a") != nil
	})
}

// TestDecisionsWhileAway: it fails closed, but for what was allowed within the hour.
func TestDecisionsWhileAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.account("pusher")
	w.role("push", "pusher", []string{access.Create}, "team-a")
	w.role("read", "pusher", []string{access.Get})
	w.eventually("the Role is not known", func() bool {
		w.advance(deniedFor)
		return w.authorize("pusher", access.Create, "team-a") == nil && w.authorize("pusher", access.Get, "") == nil
	})
	w.is("what is not allowed", w.authorize("pusher", access.Create, "team-b"), access.ErrForbidden)
	asked := w.now()
	w.away(hanging)
	w.advance(allowedFor)
	began := time.Now()
	for _, passed := range []time.Duration{time.Minute, 10 * time.Minute, 59 * time.Minute} {
		w.advance(asked.Add(passed).Sub(w.now()))
		w.is("what was allowed "+passed.String()+" ago", w.authorize("pusher", access.Create, "team-a"), nil)
		w.is("one of what was all allowed", w.authorize("pusher", access.Get, "never-asked-for"), nil)
		w.is("what was denied", w.authorize("pusher", access.Create, "team-b"), access.ErrUnavailable)
		w.is("what was never asked", w.authorize("pusher", access.List, "team-a"), access.ErrUnavailable)
		w.is("somebody else", w.authorize("other", access.Create, "team-a"), access.ErrUnavailable)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("15 decisions took %s", took)
	}
	w.advance(asked.Add(allowedHeld + time.Minute).Sub(w.now()))
	w.is("what was allowed over an hour ago", w.authorize("pusher", access.Create, "team-a"), access.ErrUnavailable)

	// It is answered as soon as the API server is, and a deny ends an allow.
	w.must(plane.admin.RbacV1().RoleBindings(w.namespace).Delete(w.ctx, "push", metav1.DeleteOptions{}))
	w.back()
	w.eventually("a right that was taken away meanwhile does not end", func() bool {
		w.advance(allowedFor)
		return w.authorize("pusher", access.Create, "team-a") != nil
	})
	w.is("after it is back", w.authorize("pusher", access.Create, "team-a"), access.ErrForbidden)
	w.away(refusing)
	w.advance(deniedFor)
	w.is("what was denied after it was allowed", w.authorize("pusher", access.Create, "team-a"), access.ErrUnavailable)
}

// TestRefusedQuestionsHoldNothing: an API server that refuses to be asked has
// answered; what it allowed before does not hold.
func TestRefusedQuestionsHoldNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.account("pusher")
	w.role("push", "pusher", []string{access.Create}, "team-a")
	w.eventually("the Role is not known", func() bool {
		w.advance(deniedFor)
		return w.authorize("pusher", access.Create, "team-a") == nil
	})
	for _, status := range []int{401, 403, 404, 422} {
		w.only(answering(status), "reviews") // and is ready
		w.advance(allowedFor)
		w.is("after "+time.Duration(status).String(), w.authorize("pusher", access.Create, "team-a"), access.ErrUnavailable)
	}
	if w.cluster.reach.away.Load() {
		t.Error("an API server that refuses is taken for one that is away")
	}
}

// TestLaterDenyEndsWiderAllow: what was allowed of all does not hold for one
// that was denied since.
func TestLaterDenyEndsWiderAllow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.account("reader")
	w.role("read", "reader", []string{access.Get})
	w.eventually("the Role is not known", func() bool {
		w.advance(deniedFor)
		return w.authorize("reader", access.Get, "") == nil
	})
	w.must(plane.admin.RbacV1().RoleBindings(w.namespace).Delete(w.ctx, "read", metav1.DeleteOptions{}))
	w.eventually("a right that was taken away does not end", func() bool {
		w.advance(deniedFor)
		return w.authorize("reader", access.Get, "team-a") != nil
	})
	w.is("before the API server is away", w.authorize("reader", access.Get, "team-a"), access.ErrForbidden)
	w.away(refusing)
	w.advance(deniedFor)
	w.is("what was denied after all was allowed", w.authorize("reader", access.Get, "team-a"), access.ErrUnavailable)
}

// TestCrowdedIsNotAway: whoever fills the limit of questions does not keep a
// right that was taken away, nor does a token that was reviewed long ago hold.
func TestCrowdedIsNotAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.account("reader")
	w.role("read", "reader", []string{access.Get})
	token := w.token("reader", audience)
	w.eventually("the Role is not known", func() bool {
		w.advance(deniedFor)
		return w.authorize("reader", access.Get, "team-a") == nil
	})
	authenticate := func() error {
		_, err := w.cluster.Authenticate(w.ctx, token)
		return err
	}
	w.is("a good token", authenticate(), nil)
	w.cluster.decisions, w.cluster.reviews = rate.NewLimiter(0, 0), rate.NewLimiter(0, 0)
	w.advance(allowedFor)
	w.is("what was allowed a minute ago", w.authorize("reader", access.Get, "team-a"), access.ErrUnavailable)
	w.is("a token that was reviewed a minute ago", authenticate(), nil)
	w.advance(knownCrowded)
	w.is("a token that was reviewed long ago", authenticate(), access.ErrUnavailable)
}
