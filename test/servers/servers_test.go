package servers

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

func TestPostgres(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		options []PostgresOption
		fsync   string
	}{"fast": {nil, "off"}, "durable": {[]PostgresOption{Durable()}, "on"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first, second := Postgres(t, test.options...), Postgres(t, test.options...)
			if first == second {
				t.Fatalf("two tests share the database %s", first)
			}
			db, err := sql.Open("pgx", first)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			var fsync string
			if err := db.QueryRow("SHOW fsync").Scan(&fsync); err != nil {
				t.Fatal(err)
			}
			if fsync != test.fsync {
				t.Errorf("fsync is %s, expected %s", fsync, test.fsync)
			}
		})
	}
}

func TestS3(t *testing.T) {
	t.Parallel()
	server, other := S3(t), S3(t)
	if server.Bucket == other.Bucket {
		t.Fatalf("two tests share the bucket %s", server.Bucket)
	}
	client := s3.New(s3.Options{
		BaseEndpoint: &server.Endpoint, Region: server.Region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(server.AccessKey, server.SecretKey, ""),
	})
	content := []byte("some bytes")
	_, err := client.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: &server.Bucket, Key: aws.String("a/b"), Body: bytes.NewReader(content), Metadata: map[string]string{"k": "v"},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &server.Bucket, Key: aws.String("a/b")})
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	if data, err := io.ReadAll(got.Body); err != nil || !bytes.Equal(data, content) || got.Metadata["k"] != "v" {
		t.Errorf("read back %q with %v: %v", data, got.Metadata, err)
	}
}

func TestControlPlaneAssets(t *testing.T) {
	t.Parallel()
	folder := ControlPlaneAssets(t)
	for _, program := range []string{"etcd", "kube-apiserver"} {
		if _, err := os.Stat(filepath.Join(folder, program)); err != nil {
			t.Error(err)
		}
	}
}

// TestMain also is the process that TestKilled kills.
func TestMain(m *testing.M) {
	if os.Getenv("SERVERS_TEST_VICTIM") == "" {
		os.Exit(m.Run())
	}
	cluster, err := startPostgres(false)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	process, err := startS3()
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	fmt.Println("folders", cluster.folder, process.folder)
	select {}
}

func TestKilled(t *testing.T) {
	t.Parallel()
	victim := exec.Command(os.Args[0])
	victim.Env = append(os.Environ(), "SERVERS_TEST_VICTIM=1")
	output, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(output).ReadString('\n')
	if err := victim.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = victim.Wait()
	folders, found := strings.CutPrefix(strings.TrimSpace(line), "folders ")
	if !found {
		t.Fatalf("the victim said %q", line)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		left := leftovers(t, strings.Fields(folders))
		if len(left) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("left behind: %v", left)
		}
	}
}

// leftovers lists folders that are there and processes that name one in their command line.
func leftovers(t *testing.T, folders []string) []string {
	t.Helper()
	var left []string
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil || len(lines) == 0 {
		t.Fatalf("no processes in /proc: %v", err)
	}
	for _, folder := range folders {
		if _, err := os.Stat(folder); err == nil {
			left = append(left, folder)
		}
		for _, line := range lines {
			if data, err := os.ReadFile(line); err == nil && bytes.Contains(data, []byte(folder)) {
				left = append(left, line+": "+strings.ReplaceAll(string(data), "\x00", " "))
			}
		}
	}
	return left
}
