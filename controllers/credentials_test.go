package controllers

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/controllers/status"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/routing"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/test/servers"
)

// keyring is a real server whose keys come and go.
type keyring struct {
	server servers.S3Server // with the first key
	add    func(access, secret string)
	remove func(access string)
}

var keyrings = map[servers.S3Kind]func(t *testing.T) keyring{
	// Ceph RGW: one user with several keys, which owns the bucket.
	servers.RGW: func(t *testing.T) keyring {
		server := servers.S3On(t, servers.RGW, false)
		user := "rotated-" + server.Bucket
		server.AccessKey, server.SecretKey = "FIRST"+server.Bucket, "first-secret-"+rand.Text()
		servers.RGWAdmin(t, "user", "create", "--uid="+user, "--display-name=rotated", "--access-key="+server.AccessKey, "--secret-key="+server.SecretKey)
		server.Bucket = user
		if _, err := server.Client().CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &server.Bucket}); err != nil {
			t.Fatal(err)
		}
		return keyring{
			server: server,
			add: func(access, secret string) {
				servers.RGWAdmin(t, "key", "create", "--uid="+user, "--key-type=s3", "--access-key="+access, "--secret-key="+secret)
			},
			remove: func(access string) {
				servers.RGWAdmin(t, "key", "rm", "--uid="+user, "--key-type=s3", "--access-key="+access)
			},
		}
	},
	// versitygw: a user for each key, each an administrator.
	servers.VersityGW: func(t *testing.T) keyring {
		users := servers.S3WithUsers(t)
		return keyring{
			server: users.Bucket(t),
			add: func(access, secret string) {
				users.AddKeys(t, servers.S3Server{AccessKey: access, SecretKey: secret})
			},
			remove: func(access string) { users.Revoke(t, servers.S3Server{AccessKey: access}) },
		}
	},
}

// TestClusterRotatesCredentials on two replicas, of which one leads: new keys
// are taken once they work, old ones serve until the server refuses them, and
// what is under way ends on those that it began with.
func TestClusterRotatesCredentials(t *testing.T) {
	t.Parallel()
	for kind, ringOf := range keyrings {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			rotateCredentials(t, ringOf(t))
		})
	}
}

func rotateCredentials(t *testing.T, ring keyring) {
	c := startCluster(t, nil, true)
	second := routing.New()
	c.replica(c.config, true, second)
	tables := []*routing.Table{c.table, second}
	keys := c.secret("keys", ring.server)
	sb := c.s3("objects", ring.server, nil)
	c.until(sb, "Ready", metav1.ConditionTrue, status.ReasonReady)
	id, place := sb.Status.ID, sb.Status.Place
	// store is what a replica stores by now; nil if it takes nothing.
	store := func(table *routing.Table) storage.Store {
		b, err := table.Place(placement.Request{Producer: "p", RetentionClass: "x"})
		if err != nil {
			return nil
		}
		return b.Store
	}
	for _, table := range tables {
		c.goesTo(table, "x", "objects")
	}
	writes := 0
	takes := func() {
		t.Helper()
		for i, table := range tables {
			writes++
			content := fmt.Sprint("content ", writes)
			place := store(table)
			if place == nil {
				t.Fatalf("replica %d takes no bytes", i)
			}
			info, err := place.Put(t.Context(), storage.Source{Reader: strings.NewReader(content), Size: int64(len(content))})
			if err != nil {
				t.Fatalf("replica %d: %v", i, err)
			}
			opened, err := table.Open(id)
			if err != nil {
				t.Fatal(err)
			}
			body, _, err := opened.Store.Get(t.Context(), info.Digests.SHA256, nil)
			if err != nil {
				t.Fatal(err)
			}
			back, err := io.ReadAll(body)
			body.Close()
			if string(back) != content || err != nil {
				t.Fatalf("%q, %v", back, err)
			}
		}
	}
	takes()
	first := []storage.Store{store(c.table), store(second)}
	rotate := func(access, secret string) time.Time {
		c.edit(keys, func() { keys.Data = map[string][]byte{"access": []byte(access), "secret": []byte(secret)} })
		return time.Now()
	}
	untilLastGood := func(want bool) {
		t.Helper()
		eventually(t, func() string {
			if err := c.client.Get(t.Context(), clientKey(sb), sb); err != nil {
				return err.Error()
			}
			if sb.Status.LastGoodServes != want {
				return fmt.Sprintf("lastGoodServes is %v: %v", sb.Status.LastGoodServes, told(sb.Status.Conditions))
			}
			return ""
		})
	}

	// A download begins on the first keys.
	large := make([]byte, 24<<20)
	rand.Read(large) //nolint:errcheck // never fails
	info, err := first[0].Put(t.Context(), storage.Source{Reader: bytes.NewReader(large), Size: int64(len(large))})
	if err != nil {
		t.Fatal(err)
	}
	body, _, err := first[0].Get(t.Context(), info.Digests.SHA256, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	back := make([]byte, 1000)
	if _, err := io.ReadFull(body, back); err != nil {
		t.Fatal(err)
	}

	// Keys that the server does not know are said, within a second or as busy as
	// this machine is, and not taken: the first serve on, on both replicas.
	changed := rotate("SECONDKEY", "second-secret-value")
	c.until(sb, "Ready", metav1.ConditionFalse, storage.ReasonAccessKeyUnknown)
	t.Logf("said after %v", time.Since(changed))
	untilLastGood(true)
	if is := c.until(sb, "Reachable", metav1.ConditionFalse, storage.ReasonAccessKeyUnknown); strings.Contains(is.Message, "second-secret-value") {
		t.Errorf("%q", is.Message)
	}
	takes()
	for i, table := range tables {
		if store(table) != first[i] {
			t.Errorf("replica %d has another driver", i)
		}
	}

	// Once the server knows them, who asks has them tried at once.
	ring.add("SECONDKEY", "second-secret-value")
	c.edit(sb, func() { sb.Annotations = map[string]string{v1alpha1.RequestAnnotation: "rotated"} })
	c.until(sb, "Ready", metav1.ConditionTrue, status.ReasonReady)
	untilLastGood(false)
	for i, table := range tables {
		eventually(t, func() string {
			if now := store(table); now == nil || now == first[i] {
				return fmt.Sprintf("replica %d has not switched over", i)
			}
			return ""
		})
	}
	eventually(t, func() string {
		if err := c.client.Get(t.Context(), clientKey(sb), sb); err != nil || sb.Status.LastHandledRequest != "rotated" {
			return fmt.Sprintf("the request is not handled: %q, %v", sb.Status.LastHandledRequest, err)
		}
		return ""
	})
	ring.remove(ring.server.AccessKey)
	takes()
	// What began on the first keys ends on them, though they are gone.
	rest, err := io.ReadAll(body)
	if err != nil || !bytes.Equal(append(back, rest...), large) {
		t.Errorf("the download that was under way: %d bytes, %v", len(back)+len(rest), err)
	}

	// A Secret that is deleted is said, and what it gave serves on.
	if err := c.client.Delete(t.Context(), keys); err != nil {
		t.Fatal(err)
	}
	deleted := time.Now()
	c.until(sb, "CredentialsResolved", metav1.ConditionFalse, declared.ReasonSecretNotFound)
	t.Logf("said after %v", time.Since(deleted))
	is := c.until(sb, "Ready", metav1.ConditionFalse, declared.ReasonSecretNotFound)
	if !strings.Contains(is.Message, "the previous credentials stay in use") {
		t.Errorf("%q", is.Message)
	}
	if sb.Status.Place != place {
		t.Errorf("the place is %q without the Secret, was %q", sb.Status.Place, place)
	}
	untilLastGood(true)
	takes()
	p := &v1alpha1.RoutingPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: v1alpha1.RoutingPolicySpec{Rules: []v1alpha1.RoutingRule{{Backends: []string{"objects"}}}}}
	c.create(p)
	c.until(p, "Ready", metav1.ConditionTrue, status.ReasonReady)

	// Until the server refuses them: then no new bytes are sent there.
	ring.remove("SECONDKEY")
	untilLastGood(false)
	for _, table := range tables {
		c.goesTo(table, "x", "")
		if _, err := table.Open(id); err != nil {
			t.Error(err)
		}
	}
	c.until(p, "Ready", metav1.ConditionFalse, status.ReasonNoReadyBackend)
	if e := c.event(sb, status.ReasonLastGoodFailed); e.Type != corev1.EventTypeWarning {
		t.Errorf("%s: %s", e.Type, e.Note)
	}

	// A new Secret is taken up on both.
	ring.add("THIRDKEY", "third-secret-value")
	keys = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "keys"}, StringData: map[string]string{"access": "THIRDKEY", "secret": "third-secret-value"}}
	c.create(keys)
	made := time.Now()
	c.until(sb, "Ready", metav1.ConditionTrue, status.ReasonReady)
	for _, table := range tables {
		c.goesTo(table, "x", "objects")
	}
	t.Logf("serves after %v", time.Since(made))
	takes()
	if sb.Status.ID != id {
		t.Errorf("it is another backend: %s, was %s", sb.Status.ID, id)
	}
	c.holdsNoSecret(ring.server.SecretKey, "second-secret-value", "third-secret-value")
}
