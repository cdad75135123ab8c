/* Debian's libcivetweb 1.16 asks OpenSSL 3 for a function by the name that it had in OpenSSL 1.1, gets nothing, and
   calls that on the first connection over TLS: Orthanc ends. It looks for the name in a library called libssl.so, and
   this is one: OpenSSL 3 with the old name beside the new one. */
struct ssl_st;
struct x509_st;

struct x509_st *SSL_get1_peer_certificate(const struct ssl_st *ssl);

struct x509_st *SSL_get_peer_certificate(const struct ssl_st *ssl) { return SSL_get1_peer_certificate(ssl); }
