package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/registry/service"
	"github.com/coulomb/artifact-store/pkg/routing"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	s3driver "github.com/coulomb/artifact-store/pkg/storage/s3"
	"github.com/coulomb/artifact-store/test/servers"
	"github.com/coulomb/artifact-store/test/size"
)

// killedUploads are begun in a round on each server, by processes that are killed at random
// instants. After each of killedRounds, what it left is compared and swept: the servers'
// disks may be memory.
var killedUploads, killedRounds = size.Of(40, 100), size.Of(1, 12)

const (
	// uploadsAtOnce of one process.
	uploadsAtOnce = 8
	// uploadThreshold and uploadChunk make most uploads go up in two to four parts.
	uploadThreshold = 6 << 20
	uploadChunk     = s3driver.MinMultipartChunkBytes
	// uploaderVariable holds what the process that uploads needs, as JSON.
	uploaderVariable = "E2E_UPLOADER"
)

func openBucket(server servers.S3Server) (*s3driver.Backend, error) {
	return s3driver.New(s3driver.Config{
		EndpointURL: server.Endpoint, Region: server.Region, Bucket: server.Bucket, KeyPrefix: prefix, CABundle: server.CA,
		AccessKey: storage.NewSecret(server.AccessKey), SecretKey: storage.NewSecret(server.SecretKey),
		MultipartThresholdBytes: uploadThreshold, MultipartChunkBytes: uploadChunk,
	}, buffer.New(96<<20, uploadChunk))
}

// TestUploader is not a test: it is the process that TestKilledUploads kills. It
// uploads without end and says when each begins and what it has become.
func TestUploader(t *testing.T) {
	config := os.Getenv(uploaderVariable)
	if config == "" {
		t.Parallel()
		return // nobody has started it for this
	}
	var server servers.S3Server
	if err := json.Unmarshal([]byte(config), &server); err != nil {
		t.Fatal(err)
	}
	backend, err := openBucket(server)
	if err != nil {
		t.Fatal(err)
	}
	filling := make([]byte, 3*uploadChunk+1)
	rand.NewChaCha8([32]byte{}).Read(filling) //nolint:errcheck // never fails, by its contract
	var group sync.WaitGroup
	for range uploadsAtOnce {
		group.Go(func() {
			for {
				// A byte below the threshold, the threshold, and up to three parts more.
				size := []int64{1 << 20, uploadThreshold - 1, uploadThreshold, uploadThreshold + 1, 2 * uploadChunk, 3*uploadChunk + 1}[rand.IntN(6)]
				content := bytes.Clone(filling[:size])
				// In each page, so that a part of another upload is noticed.
				for page := content; len(page) >= 8; page = page[min(4096, len(page)):] {
					binary.NativeEndian.PutUint64(page, rand.Uint64())
				}
				src := storage.Source{Reader: bytes.NewReader(content), Size: size, Want: digest.Of(content)}
				switch rand.IntN(3) {
				case 0:
					src.Want = digest.Dual{} // staged
				case 1:
					src.Want, src.Size = digest.Dual{}, storage.UnknownSize
				}
				fmt.Fprintln(os.Stderr, "begun")
				info, err := backend.Put(context.Background(), src)
				if err != nil {
					fmt.Fprintln(os.Stderr, "failed", err)
					continue
				}
				fmt.Fprintln(os.Stderr, "stored", info.Digests.SHA256)
			}
		})
	}
	group.Wait()
}

// TestKilledUploads ends processes that upload to S3 by SIGKILL at random
// instants: whatever is under a blob's key is that blob, what was answered is
// there, and a sweep leaves nothing.
func TestKilledUploads(t *testing.T) {
	t.Parallel()
	for _, kind := range servers.S3Kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			killedUploadsOn(t, servers.S3On(t, kind, false))
		})
	}
}

func killedUploadsOn(t *testing.T, server servers.S3Server) {
	backend, err := openBucket(server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { backend.Close() }) //nolint:errcheck // a test's
	sweeper := newSweeper(t, server, backend)
	for range killedRounds {
		killedRound(t, server, backend, sweeper)
	}
}

func killedRound(t *testing.T, server servers.S3Server, backend *s3driver.Backend, sweeper *service.Service) {
	t.Helper()
	begun, kills := 0, 0
	var stored []string
	for ; begun < killedUploads; kills++ {
		n, done := uploadUntilKilled(t, server)
		begun, stored = begun+n, append(stored, done...)
	}
	for _, name := range stored {
		sha, err := digest.Parse(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := backend.Head(background, sha); err != nil {
			t.Errorf("%s was answered: %v", name, err)
		}
	}
	intact := rehash(t, backend)
	staged, unfinished := 0, 0
	for o, err := range backend.Orphans(background) {
		if err != nil {
			t.Fatal(err)
		}
		if o.Kind == storage.OrphanUpload {
			unfinished++
		} else {
			staged++
		}
	}
	t.Logf("%d uploads begun, %d kills; %d answered; left: %d blobs, all intact, %d staged objects, %d unfinished uploads",
		begun, kills, len(stored), intact, staged, unfinished)
	if unfinished == 0 || len(stored) == begun {
		t.Error("no upload was broken off in its midst: little was tested")
	}
	sweepAll(t, server, sweeper)
}

// uploadUntilKilled returns how many uploads a process has begun, and what it stored.
func uploadUntilKilled(t *testing.T, server servers.S3Server) (begun int, stored []string) {
	t.Helper()
	config, err := json.Marshal(server)
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(program, "-test.run=^TestUploader$", "-test.timeout=5m")
	command.Env = append(os.Environ(), uploaderVariable+"="+string(config))
	says, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := servers.Start(command); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	lines := bufio.NewScanner(says)
	for lines.Scan() {
		switch what, name, _ := strings.Cut(lines.Text(), " "); what {
		case "begun":
			begun++
			once.Do(func() { // the instant: from the first byte to when some are done
				time.AfterFunc(time.Duration(rand.Int64N(int64(1500*time.Millisecond))), func() { command.Process.Kill() }) //nolint:errcheck // it is alive until waited for
			})
		case "stored":
			stored = append(stored, name)
		default:
			t.Errorf("the uploader says %q", lines.Text())
		}
	}
	command.Wait() //nolint:errcheck // it was killed
	if begun == 0 {
		t.Fatal("the uploader began nothing")
	}
	return begun, stored
}

// rehash reads every object under a blob's key and compares it with the key.
func rehash(t *testing.T, backend *s3driver.Backend) (intact int) {
	t.Helper()
	for info, err := range backend.List(background) {
		if err != nil {
			t.Fatal(err)
		}
		r, _, err := backend.Get(background, info.Digests.SHA256, nil)
		if err != nil {
			t.Fatal(err)
		}
		hashed := digest.NewReader(r)
		_, err = io.Copy(io.Discard, hashed)
		r.Close() //nolint:errcheck // read to its end
		if err != nil || hashed.Sum().SHA256 != info.Digests.SHA256 {
			t.Errorf("%s holds %d bytes of %s, %v", storage.Key(info.Digests.SHA256), info.Size, hashed.Sum().SHA256, err)
			continue
		}
		intact++
	}
	return intact
}

// newSweeper is a registry that knows nothing of what is in the backend.
func newSweeper(t *testing.T, server servers.S3Server, backend *s3driver.Backend) *service.Service {
	t.Helper()
	db, err := database.Open(background, "sqlite://"+filepath.Join(t.TempDir(), "registry.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() }) //nolint:errcheck // a test's
	table := routing.New()
	sweeper, err := service.Open(background, service.Options{Database: db, Placer: table, OrphanAge: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sweeper.Close() }) //nolint:errcheck // a test's
	id, err := sweeper.RegisterBackend(background, "one", "s3", server.Bucket, backend)
	if err != nil {
		t.Fatal(err)
	}
	table.Swap(routing.Snapshot{Backends: []placement.Backend{{ID: id, Name: "one", Driver: "s3", Ready: true, Store: backend}}})
	return sweeper
}

// sweepAll sweeps until nothing is left but the marker and the head mark.
func sweepAll(t *testing.T, server servers.S3Server, sweeper *service.Service) {
	t.Helper()
	// Servers keep whole seconds, and may still be ending a request of the process that was killed.
	var left []string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		if _, err := sweeper.SweepBackend(background, "one", false, nil); err != nil {
			t.Fatal(err)
		}
		if left = everything(t, server); slices.Equal(left, []string{prefix + "/" + storage.HeadMarkKey, prefix + "/" + storage.MarkerKey}) {
			return
		}
		<-time.After(500 * time.Millisecond)
	}
	t.Errorf("left after a sweep: %q", left)
}

// everything lists the bucket's objects and unfinished uploads.
func everything(t *testing.T, server servers.S3Server) []string {
	t.Helper()
	var found []string
	client := server.Client()
	pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: &server.Bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(background)
		if err != nil {
			t.Fatal(err)
		}
		for _, object := range page.Contents {
			found = append(found, aws.ToString(object.Key))
		}
	}
	uploads, err := client.ListMultipartUploads(background, &s3.ListMultipartUploadsInput{Bucket: &server.Bucket})
	if err != nil {
		t.Fatal(err)
	}
	for _, upload := range uploads.Uploads {
		found = append(found, "unfinished: "+aws.ToString(upload.Key))
	}
	return found
}
