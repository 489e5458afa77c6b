package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/pkg/access"
	sdk "github.com/coulomb/artifact-store/pkg/client"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/test/programs"
	"github.com/coulomb/artifact-store/test/servers"
	"github.com/coulomb/artifact-store/test/size"
)

// outage is longer than a lease lasts (15 s), and than its holder tries to
// renew it (10 s); in the long form it is as long as is promised.
var outage = size.Of(20*time.Second, 10*time.Minute)

// slowest is what one request may take while the API server is away: whoever
// finds out waits for it twice, for 3 s each; and these machines are busy.
const slowest = 20 * time.Second

// cluster is an API server of its own that can go away, and two replicas.
type cluster struct {
	plane
	t        *testing.T
	n        *namespace
	replicas [2]*programs.Manager
	folder   string // that holds the backends' folders
	api      *os.Process
	command  []string // of the API server
}

// TestAPIServerAway stops the API server for longer than the lease, and kills
// it and starts it again. On the replica that held the lease and on the other,
// uploads and downloads go on, also by tokens that neither has seen before; what
// nobody allowed is refused. When the API server is back, so are the controllers.
func TestAPIServerAway(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	for i, away := range []struct {
		name       string
		begin, end func() error
	}{
		{"stopped", func() error { return c.api.Signal(syscall.SIGSTOP) }, func() error { return c.api.Signal(syscall.SIGCONT) }},
		{"killed", func() error { return c.api.Kill() }, c.restart},
	} {
		c.push("before-"+away.name, c.n.tokenOf(t, "pusher"))
		unseen := make([]string, 200)
		for i := range unseen {
			unseen[i] = c.n.tokenOf(t, "pusher")
		}
		leader := c.leader()
		leases := c.count(leader, "the controllers ended and restart")
		if err := away.begin(); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		rounds, longest := c.whileAway(away.name, outage, unseen)
		if c.count(leader, "the controllers ended and restart") == leases {
			t.Errorf("%s for %s: the controllers of the leader did not end; was it away for longer than the lease?", away.name, time.Since(began))
		}
		if err := away.end(); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s for %s: %d rounds of push and pull on each replica, the longest took %s", away.name, time.Since(began).Round(time.Second), rounds, longest.Round(time.Millisecond))
		c.controllersGoOn(fmt.Sprintf("later-%d", i))
		c.push("after-"+away.name, c.n.tokenOf(t, "pusher"))
		c.reviewsAgain()
	}
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	root, err := servers.Root()
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, folder: t.TempDir()}
	assets := servers.ControlPlaneAssets(t)
	if err := c.start(assets, root); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if c.api != nil {
			_ = c.api.Signal(syscall.SIGCONT) // a test that failed may have left it stopped
		}
		if err := c.env.Stop(); err != nil {
			t.Logf("stopping the control plane: %v", err) // the API server may be another process than it knows
		}
	})
	c.n = c.namespace(t, root, "outage")
	c.n.account(t, "pusher", rbacv1.PolicyRule{APIGroups: []string{access.Group}, Resources: []string{access.Packages},
		Verbs: []string{access.Create, access.Get}, ResourceNames: []string{"e2e"}})
	c.findAPIServer(assets)
	c.declare("volume")
	c.n.apply(t, &v1alpha1.RoutingPolicy{ObjectMeta: metav1.ObjectMeta{Name: "all"},
		Spec: v1alpha1.RoutingPolicySpec{Rules: []v1alpha1.RoutingRule{{Backends: []string{"volume"}}}}})
	database := servers.Postgres(t)
	for i := range c.replicas {
		c.replicas[i] = c.n.start(t, database, t.TempDir(), c.folder)
	}
	for _, m := range c.replicas {
		programs.Eventually(t, func() error {
			b, err := m.Client(t).GetBackend(background, "volume")
			if err == nil && !b.Ready {
				err = fmt.Errorf("it is not ready: %s: %s", b.Reason, b.Message)
			}
			return err
		})
	}
	return c
}

// declare makes a StorageBackend on a folder.
func (c *cluster) declare(name string) {
	c.t.Helper()
	path := filepath.Join(c.folder, name)
	if err := os.Mkdir(path, 0o750); err != nil {
		c.t.Fatal(err)
	}
	c.n.apply(c.t, &v1alpha1.StorageBackend{ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.StorageBackendSpec{Local: &v1alpha1.LocalSpec{Path: path}}})
}

// findAPIServer finds the process by the port that it serves at.
func (c *cluster) findAPIServer(assets string) {
	c.t.Helper()
	port := "--secure-port=" + c.env.ControlPlane.APIServer.SecureServing.Port
	folders, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		c.t.Fatal(err)
	}
	for _, file := range folders {
		content, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		words := strings.Split(strings.TrimRight(string(content), "\x00"), "\x00")
		if filepath.Base(words[0]) != "kube-apiserver" || !slices.Contains(words, port) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			c.t.Fatal(err)
		}
		if c.api, err = os.FindProcess(pid); err != nil {
			c.t.Fatal(err)
		}
		c.command = append([]string{filepath.Join(assets, "kube-apiserver")}, words[1:]...)
		return
	}
	c.t.Fatalf("no kube-apiserver has %s", port)
}

// restart starts the API server again, on the same etcd, port and keys.
func (c *cluster) restart() error {
	command := exec.Command(c.command[0], c.command[1:]...)
	if err := servers.Start(command); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() { defer close(ended); command.Wait() }()      //nolint:errcheck // it is ended by a signal
	c.t.Cleanup(func() { command.Process.Kill(); <-ended }) //nolint:errcheck // it may have ended
	c.api = command.Process
	return nil
}

// leader is the replica that said last that it has the lease.
func (c *cluster) leader() *programs.Manager {
	c.t.Helper()
	var found *programs.Manager
	programs.Eventually(c.t, func() error {
		for i, m := range c.replicas {
			text := m.Text()
			if strings.LastIndex(text, "Successfully acquired lease") > strings.LastIndex(text, "the controllers ended") {
				found = c.replicas[i]
				return nil
			}
		}
		return errors.New("no replica has the lease")
	})
	return found
}

func (c *cluster) count(m *programs.Manager, words string) int {
	return strings.Count(m.Text(), words)
}

// as is a client of a replica with another token.
func (c *cluster) as(m *programs.Manager, token string) *sdk.Client {
	other := *m
	other.Token = token
	return other.Client(c.t)
}

// push takes a package through both replicas: pushed to each, pulled from the other.
func (c *cluster) push(version, token string) {
	c.t.Helper()
	for i, m := range c.replicas {
		programs.Eventually(c.t, func() error { // a Role that was just made is not known at once
			_, err := c.pushTo(m, c.replicas[1-i], fmt.Sprintf("%s-%d", version, i), token)
			return err
		})
	}
}

// pushTo publishes on one replica and reads on both, and says how long the slowest request took.
func (c *cluster) pushTo(to, other *programs.Manager, version, token string) (longest time.Duration, err error) {
	ctx, cancel := context.WithTimeout(background, programs.Patience)
	defer cancel()
	step := func(do func() error) {
		if err == nil {
			began := time.Now()
			err = do()
			longest = max(longest, time.Since(began))
		}
	}
	client, reader := c.as(to, token), c.as(other, token)
	defer client.Close()
	defer reader.Close()
	content := "content of " + version
	var upload registry.Upload
	ref := registry.PackageRef{Producer: "e2e", Name: "outage", Version: version}
	step(func() (err error) {
		upload, err = client.OpenUpload(ctx, registry.OpenUpload{PackageRef: ref, RetentionClass: "test"})
		return err
	})
	step(func() error {
		_, err := client.PutFile(ctx, upload.ID, "file", registry.Content{Reader: strings.NewReader(content), Size: int64(len(content)), Digests: digest.Of([]byte(content))})
		return err
	})
	step(func() error { _, err := client.Publish(ctx, upload.ID, nil); return err })
	for _, from := range []*sdk.Client{client, reader} {
		step(func() error { _, err := from.GetPackage(ctx, ref); return err })
		step(func() error {
			body, _, err := from.OpenBlob(registry.WithHolder(ctx, ref.Producer), digest.Of([]byte(content)).SHA256, nil)
			if err != nil {
				return err
			}
			defer body.Close() //nolint:errcheck // it is only read
			got, err := io.ReadAll(body)
			if err == nil && string(got) != content {
				err = fmt.Errorf("got %q, want %q", got, content)
			}
			return err
		})
	}
	return longest, err
}

// whileAway pushes and pulls on both replicas until the time is over, each
// round with a token that nobody has seen. Every request must succeed.
func (c *cluster) whileAway(name string, length time.Duration, unseen []string) (rounds int, longest time.Duration) {
	c.t.Helper()
	until := time.Now().Add(length)
	pause := max(length/time.Duration(len(unseen)), 200*time.Millisecond)
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for ; time.Now().Before(until) || rounds < 2; rounds++ {
		var group sync.WaitGroup
		var mu sync.Mutex
		token := unseen[rounds%len(unseen)]
		for i, m := range c.replicas {
			group.Go(func() {
				took, err := c.pushTo(m, c.replicas[1-i], fmt.Sprintf("%s-%d-%d", name, rounds, i), token)
				mu.Lock()
				defer mu.Unlock()
				longest = max(longest, took)
				if err != nil {
					c.t.Errorf("%s, round %d, replica %d: %v", name, rounds, i, err)
				}
			})
		}
		group.Wait()
		if c.t.Failed() {
			c.t.Fatalf("%s before the end", name)
		}
		<-tick.C
	}
	if longest > slowest {
		c.t.Errorf("%s: a request took %s", name, longest)
	}
	for i, m := range c.replicas {
		// It fails closed, and says that it is not for ever.
		_, err := c.as(m, unseen[0]).GetPackage(background, registry.PackageRef{Producer: "other", Name: "n", Version: "1"})
		if !errors.Is(err, access.ErrUnavailable) {
			c.t.Errorf("%s, replica %d: what was never allowed: %v", name, i, err)
		}
		if _, err := c.as(m, unseen[0]+"x").GetPackage(background, registry.PackageRef{Producer: "e2e", Name: "n", Version: "1"}); !errors.Is(err, access.ErrUnauthenticated) {
			c.t.Errorf("%s, replica %d: a forged token: %v", name, i, err)
		}
		answer, err := http.Get(m.URL + "/readyz")
		if err != nil {
			c.t.Fatal(err)
		}
		answer.Body.Close() //nolint:errcheck // only its status counts
		if answer.StatusCode != http.StatusOK {
			c.t.Errorf("%s, replica %d: /readyz is %s", name, i, answer.Status)
		}
	}
	return rounds, longest
}

// controllersGoOn declares a backend, and waits until a leader has found it
// ready and every replica knows it.
func (c *cluster) controllersGoOn(backend string) {
	c.t.Helper()
	programs.Eventually(c.t, func() error {
		err := c.admin.Get(background, client.ObjectKey{Namespace: c.n.name, Name: "all"}, &v1alpha1.RoutingPolicy{})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		return nil
	})
	c.declare(backend)
	// Controllers wait up to 45 s before they start again, and for the old lease.
	programs.EventuallyWithin(c.t, 3*programs.Patience, func() error {
		var sb v1alpha1.StorageBackend
		if err := c.admin.Get(background, client.ObjectKey{Namespace: c.n.name, Name: backend}, &sb); err != nil {
			return err
		}
		if ready := meta.FindStatusCondition(sb.Status.Conditions, "Ready"); ready == nil || ready.Status != metav1.ConditionTrue {
			return fmt.Errorf("StorageBackend %s: %+v", backend, sb.Status.Conditions)
		}
		for i, m := range c.replicas {
			if b, err := m.Client(c.t).GetBackend(background, backend); err != nil || !b.Ready {
				return fmt.Errorf("replica %d: %+v, %v", i, b, err)
			}
		}
		return nil
	})
}

// reviewsAgain waits until each replica has the API server's word again.
func (c *cluster) reviewsAgain() {
	c.t.Helper()
	for i, m := range c.replicas {
		programs.Eventually(c.t, func() error {
			answer, err := http.Get(m.URL + "/metrics")
			if err != nil {
				return err
			}
			defer answer.Body.Close() //nolint:errcheck // it is only read
			content, err := io.ReadAll(answer.Body)
			if err == nil && !strings.Contains(string(content), "\nartifactstore_access_api_server_away 0\n") {
				err = fmt.Errorf("replica %d takes the API server for away", i)
			}
			return err
		})
	}
}
