package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
)

// StorageClass is one that RGW has beside STANDARD.
const StorageClass = "STANDARD_IA"

// Cluster is a Ceph of one mon, one osd and one RGW, all state in one temporary
// folder and the objects in memory. It serves http and https.
type Cluster struct {
	folder      string
	http, https *s3Process
	osd         *os.Process
	processes   []*os.Process
	frozen      atomic.Bool
}

// sharedCluster is that of S3On.
var sharedCluster = sync.OnceValues(startRGW)

func startRGW() (*Cluster, error) { return try5("Ceph RGW", startCluster) }

// OwnRGW starts a cluster for one test, for what would disturb the others: its
// osd can be frozen, its users changed. It takes a few seconds, and ends with
// the test.
func OwnRGW(tb testing.TB) *Cluster {
	tb.Helper()
	c, err := startRGW()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.stop)
	return c
}

// Bucket returns a fresh bucket, over https if secure.
func (c *Cluster) Bucket(tb testing.TB, secure bool) S3Server {
	tb.Helper()
	return c.endpoint(secure).bucket(tb)
}

// Freeze stops the osd until Thaw or the test's end: RGW takes requests, and
// those that need the osd hang.
func (c *Cluster) Freeze(tb testing.TB) {
	tb.Helper()
	if err := c.osd.Signal(syscall.SIGSTOP); err != nil {
		tb.Fatalf("freezing the osd: %v", err)
	}
	c.frozen.Store(true)
	tb.Cleanup(func() { c.Thaw(tb) })
}

// Thaw lets a frozen osd go on; the requests that hung are answered then. On
// one that is not frozen it does nothing.
func (c *Cluster) Thaw(tb testing.TB) {
	tb.Helper()
	if !c.frozen.Swap(false) {
		return
	}
	if err := c.osd.Signal(syscall.SIGCONT); err != nil {
		tb.Errorf("thawing the osd: %v", err)
	}
}

// Admin runs radosgw-admin with these arguments and returns what it prints.
func (c *Cluster) Admin(tb testing.TB, arguments ...string) string {
	tb.Helper()
	output, err := c.run("radosgw-admin", arguments...)
	if err != nil {
		tb.Fatal(err)
	}
	return output
}

// RGWAdmin runs radosgw-admin on the cluster that S3On shares: only for what
// no other test can notice, such as another user.
func RGWAdmin(tb testing.TB, arguments ...string) string {
	tb.Helper()
	c, err := sharedCluster()
	if err != nil {
		tb.Fatal(err)
	}
	return c.Admin(tb, arguments...)
}

func (c *Cluster) endpoint(secure bool) *s3Process {
	if secure {
		return c.https
	}
	return c.http
}

func (c *Cluster) path(elements ...string) string {
	return filepath.Join(append([]string{c.folder}, elements...)...)
}

// startCluster follows Ceph's manual deployment, without systemd and without
// authentication between its parts. A path of a socket has at most 107 bytes.
func startCluster() (c *Cluster, err error) {
	if _, err := toolFolder("ceph", "radosgw"); err != nil {
		return nil, err
	}
	folder, err := folderIn("/tmp", "rgw")
	if err != nil {
		return nil, err
	}
	c = &Cluster{folder: folder}
	made := c // what is returned with an error is none
	defer func() {
		if err != nil {
			made.stop()
		}
	}()
	mon, err := freeAddress()
	if err != nil {
		return nil, err
	}
	clusterID, osdID := uuid.NewString(), uuid.NewString()
	if err := c.configure(clusterID, mon); err != nil {
		return nil, err
	}
	for _, step := range [][]string{
		{"monmaptool", "--create", "--clobber", "--fsid", clusterID, "--addv", "a", "[v2:" + mon + "]", "--set-min-mon-release", "pacific", c.path("monmap")},
		{"ceph-mon", "--mkfs", "--id", "a", "--monmap", c.path("monmap")},
	} {
		if _, err := c.run(step[0], step[1:]...); err != nil {
			return nil, err
		}
	}
	if _, _, err := c.daemon("ceph-mon", "--id", "a"); err != nil {
		return nil, err
	}
	if _, err := c.run("ceph", "osd", "new", osdID, "0"); err != nil {
		return nil, err
	}
	if _, err := c.run("ceph-osd", "--id", "0", "--mkfs", "--osd-uuid", osdID); err != nil {
		return nil, err
	}
	if c.osd, _, err = c.daemon("ceph-osd", "--id", "0"); err != nil {
		return nil, err
	}
	// RGW knows of another class only when it starts.
	for _, step := range [][]string{
		{"user", "create", "--uid", "tests", "--display-name", "Tests", "--access-key", c.http.AccessKey, "--secret-key", c.http.SecretKey, "--max-buckets", "100000"},
		{"zonegroup", "placement", "add", "--rgw-zonegroup", "default", "--placement-id", "default-placement", "--storage-class", StorageClass},
		{"zone", "placement", "add", "--rgw-zone", "default", "--placement-id", "default-placement", "--storage-class", StorageClass, "--data-pool", "default.rgw.ia.data"},
	} {
		if _, err := c.run("radosgw-admin", step...); err != nil {
			return nil, err
		}
	}
	_, exited, err := c.daemon("radosgw", "--name", "client.rgw")
	if err != nil {
		return nil, err
	}
	if err := c.http.answers(exited); err != nil {
		return nil, err
	}
	return c, c.https.answers(exited)
}

// configure chooses the gateway's addresses and keys, and writes ceph.conf.
func (c *Cluster) configure(clusterID, mon string) error {
	authority, err := writeCertificate(c.folder, "public.crt", "private.key")
	if err != nil {
		return err
	}
	var addresses [2]string
	c.http, c.https = &s3Process{log: c.path("radosgw.log")}, &s3Process{log: c.path("radosgw.log")}
	if c.http.S3Server, addresses[0], err = newS3(RGW, nil); err != nil {
		return err
	}
	if c.https.S3Server, addresses[1], err = newS3(RGW, authority); err != nil {
		return err
	}
	c.https.AccessKey, c.https.SecretKey = c.http.AccessKey, c.http.SecretKey
	for _, name := range []string{"mon", "osd", "rgw", "crash"} {
		if err := os.Mkdir(c.path(name), 0o700); err != nil {
			return err
		}
	}
	settings := strings.NewReplacer(
		"FOLDER", c.folder, "CLUSTER", clusterID, "MON", mon, "HTTPS", addresses[1], "HTTP", addresses[0],
	).Replace(cephSettings)
	return os.WriteFile(c.path("ceph.conf"), []byte(settings), 0o600)
}

// cephSettings is ceph.conf for Ceph 16, which Debian 12 has: without
// ms_mon_client_mode radosgw hangs, without 127.0.0.0/8 loopback is left out,
// without tcp_nodelay each small answer takes 40 ms more.
const cephSettings = `[global]
fsid = CLUSTER
mon_host = v2:MON/0
public_network = 127.0.0.0/8
cluster_network = 127.0.0.0/8
ms_bind_msgr1 = false
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
ms_mon_client_mode = crc

# One of everything is enough; the default intervals make starting slow.
osd_pool_default_size = 1
osd_pool_default_min_size = 1
mon_allow_pool_size_one = true
osd_pool_default_pg_num = 4
osd_pool_default_pgp_num = 4
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
osd_class_load_list = *
# Who reads a placement group renews a lease that says that no other osd does;
# by default 16 s. An only osd that was stopped for longer may wait for ever
# for one that nobody gives it.
osd_pool_default_read_lease_ratio = 30
paxos_propose_interval = 0.05
paxos_min_wait = 0.01
mon_data_avail_crit = 1
mon_data_avail_warn = 1

# Room that is only taken when it is used.
osd_objectstore = memstore
memstore_device_bytes = 17179869184

# Deleted objects give their memory back soon; none is read for longer than that.
rgw_gc_obj_min_wait = 10
rgw_gc_processor_period = 5
rgw_gc_processor_max_time = 30

mon_data = FOLDER/mon
osd_data = FOLDER/osd
rgw_data = FOLDER/rgw
run_dir = FOLDER
crash_dir = FOLDER/crash
admin_socket = FOLDER/$name.$pid.asok
pid_file =
keyring = FOLDER/keyring
log_file = FOLDER/$name.ceph.log
mon_cluster_log_file = FOLDER/cluster.log

# Half of the gateway's time otherwise: hundreds of threads that wake each other,
# counters and checksums on loopback, and what it would log if it were asked to.
rgw_thread_pool_size = 8
perf = false
osd_enable_op_tracker = false
ms_crc_data = false
ms_crc_header = false
debug_ms = 0/0
debug_rgw = 0/0
debug_osd = 0/0
debug_objecter = 0/0
debug_rados = 0/0
log_max_recent = 500

[client.rgw]
rgw_frontends = beast tcp_nodelay=1 endpoint=HTTP ssl_endpoint=HTTPS ssl_certificate=FOLDER/public.crt ssl_private_key=FOLDER/private.key
`

// run runs one of Ceph's programs to its end, which may never come by itself.
func (c *Cluster) run(program string, arguments ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	path, err := exec.LookPath(program)
	if err != nil {
		return "", fmt.Errorf("%s is missing: run make tools", program)
	}
	command := exec.CommandContext(ctx, path, append([]string{"--conf", c.path("ceph.conf")}, arguments...)...)
	if program == "monmaptool" {
		command.Args = append(command.Args[:1], arguments...)
	}
	var output, errors strings.Builder
	command.Stdout, command.Stderr = &output, &errors
	command.Dir, command.Env = c.folder, c.environment()
	err = Start(command)
	if err == nil {
		err = command.Wait()
	}
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", program, arguments[0], err, strings.TrimSpace(errors.String()))
	}
	return output.String(), nil
}

// daemon starts one that ends with this process, as this package's others do.
func (c *Cluster) daemon(program string, arguments ...string) (*os.Process, <-chan struct{}, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, nil, fmt.Errorf("%s is missing: run make tools", program)
	}
	command := exec.Command(path, append([]string{"--foreground", "--conf", c.path("ceph.conf")}, arguments...)...)
	command.Dir, command.Env = c.folder, c.environment()
	exited, err := launch(command, syscall.SIGKILL, c.path(program+".log"))
	if err != nil {
		return nil, nil, err
	}
	c.processes = append(c.processes, command.Process)
	return command.Process, exited, nil
}

func (c *Cluster) environment() []string {
	return []string{"HOME=" + c.folder, "TMPDIR=" + c.folder, "PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "TZ=UTC"}
}

// stop ends what was started. The folder goes with this process at the latest.
func (c *Cluster) stop() {
	for _, process := range c.processes {
		if err := process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			panic(err) // it is a child of ours
		}
	}
	for range 100 {
		if os.RemoveAll(c.folder) == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}
