package testserver

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"syscall"
)

var nginx = &kind{
	name: "nginx",
	pkg:  "nginx",

	url: func(a access) string { return "http://" + a.hostPort() },

	find: func() (string, error) {
		path, ok := lookPath("nginx", "/usr/sbin", "/usr/local/sbin", "/usr/local/bin")
		if !ok {
			return "", errMissing
		}
		return path, nil
	},
	plan:  nginxPlan,
	probe: probeNginx,
}

// nginxPlan has nginx serve in one process, which is enough for tests and ends at once.
//
// The ways to an app are in the doc of [Nginx]. The port in a path makes one nginx
// enough for all tests. HTTP/1.0 is said, as a later version may have another default;
// all else is left at its default.
func nginxPlan(program, dir string, a access) plan {
	const config = `
daemon off;
master_process off;
pid "%[1]s/pid";
error_log stderr;
events {}
http {
	access_log off;
	client_body_temp_path "%[1]s/body";
	proxy_temp_path "%[1]s/proxy";
	fastcgi_temp_path "%[1]s/fastcgi";
	uwsgi_temp_path "%[1]s/uwsgi";
	scgi_temp_path "%[1]s/scgi";
	proxy_cache_path "%[1]s/cache" keys_zone=cdn:1m;
	proxy_http_version 1.0;
	server {
		listen %[2]s;
		listen "unix:%[3]s";
		location = /probe { return 204; }
		location ~ ^/http10/(?<port>\d+)(?<path>/.*)$ {
			proxy_pass http://127.0.0.1:$port$path$is_args$args;
		}
		location ~ ^/http10-unbuffered/(?<port>\d+)(?<path>/.*)$ {
			proxy_buffering off;
			proxy_pass http://127.0.0.1:$port$path$is_args$args;
		}
		location ~ ^/http10-tls/(?<port>\d+)(?<path>/.*)$ {
			proxy_pass https://127.0.0.1:$port$path$is_args$args;
		}
		location ~ ^/http11/(?<port>\d+)(?<path>/.*)$ {
			proxy_http_version 1.1;
			proxy_pass http://127.0.0.1:$port$path$is_args$args;
		}
		location ~ ^/http11-unbuffered/(?<port>\d+)(?<path>/.*)$ {
			proxy_http_version 1.1;
			proxy_buffering off;
			proxy_pass http://127.0.0.1:$port$path$is_args$args;
		}
	}
	server {
		listen %[2]s;
		server_name ~^app-(?<app>\d+)\.localhost$;
		location / {
			proxy_http_version 1.1;
			proxy_set_header Host $http_host;
			proxy_cache cdn;
			proxy_ignore_headers Vary Set-Cookie;
			add_header X-Cache $upstream_cache_status always;
			proxy_pass http://127.0.0.1:$app;
		}
	}
}
`
	socket := filepath.Join(dir, "s")
	return plan{
		Files: map[string]string{"nginx.conf": fmt.Sprintf(config, dir, a.hostPort(), socket)},
		// Without -e, which nginx has since 1.19.5, it opens the log of the machine's own
		// server before it reads a configuration.
		Server: []string{program, "-e", "stderr", "-p", dir, "-c", filepath.Join(dir, "nginx.conf")},
		Socket: socket,
		Signal: int(syscall.SIGKILL),
	}
}

// probeNginx asks for a page of nginx's own.
func probeNginx(c net.Conn) error {
	if _, err := io.WriteString(c, "GET /probe HTTP/1.0\r\n\r\n"); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("the probe is answered by %s", resp.Status)
	}
	return nil
}
