// https: against a server with a certificate of its own, right and wrong.

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>
#include <cstdio>
#include <memory>
#include <thread>

#include "koyeb/sandbox/client.hpp"

namespace koyeb::sandbox {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

struct Pem {
    std::string certificate;
    std::string key;
};

std::string text_of(BIO* bio) {
    char* data = nullptr;
    const long size = BIO_ctrl(bio, BIO_CTRL_INFO, 0, &data);
    return {data, static_cast<std::size_t>(size)};
}

// Self-signed, for the names given as OpenSSL writes them: "DNS:localhost".
Pem make_certificate(const char* names) {
    const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(
        EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"), &EVP_PKEY_free);
    const std::unique_ptr<X509, decltype(&X509_free)> certificate(X509_new(), &X509_free);
    X509_set_version(certificate.get(), 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
    X509_set_pubkey(certificate.get(), key.get());
    X509_NAME* name = X509_get_subject_name(certificate.get());
    const std::string text = "test";
    X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8,
                               std::basic_string<unsigned char>(text.begin(), text.end()).c_str(), -1, -1, 0);
    X509_set_issuer_name(certificate.get(), name);
    for (const auto& [nid, value] :
         {std::pair{NID_subject_alt_name, names}, {NID_basic_constraints, "CA:TRUE"}}) {
        X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value);
        X509_add_ext(certificate.get(), extension, -1);
        X509_EXTENSION_free(extension);
    }
    EXPECT_GT(X509_sign(certificate.get(), key.get(), nullptr), 0);
    const std::unique_ptr<BIO, decltype(&BIO_free)> out(BIO_new(BIO_s_mem()), &BIO_free);
    const std::unique_ptr<BIO, decltype(&BIO_free)> key_out(BIO_new(BIO_s_mem()), &BIO_free);
    PEM_write_bio_X509(out.get(), certificate.get());
    PEM_write_bio_PrivateKey(key_out.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    return {text_of(out.get()), text_of(key_out.get())};
}

// Answers /health on as many connections as come; handshakes that fail are none of its business.
class TlsServer {
  public:
    explicit TlsServer(const char* names)
        : pem_(make_certificate(names)),
          acceptor_(context_, tcp::endpoint(asio::ip::address_v4::loopback(), 0)) {
        std::string pattern = testing::TempDir() + "sandbox-ca-XXXXXX";
        const int fd = ::mkstemp(pattern.data());
        EXPECT_EQ(::write(fd, pem_.certificate.data(), pem_.certificate.size()),
                  static_cast<ssize_t>(pem_.certificate.size()));
        ::close(fd);
        ca_file_ = pattern;
        thread_ = std::thread([this] { serve(); });
    }
    ~TlsServer() {
        boost::system::error_code ignored;
        stopping_ = true;
        tcp::socket waker(context_);
        waker.connect(acceptor_.local_endpoint(), ignored);
        waker.close(ignored);
        thread_.join();
        std::remove(ca_file_.c_str());
    }
    TlsServer(const TlsServer&) = delete;
    TlsServer& operator=(const TlsServer&) = delete;
    ConnectionInfo info(const std::string& host) const {
        ConnectionInfo info;
        info.url = "https://" + host + ":" + std::to_string(acceptor_.local_endpoint().port());
        info.ca_file = ca_file_;
        info.timeout = Seconds{5};
        return info;
    }

  private:
    void serve() {
        asio::ssl::context tls(asio::ssl::context::tls_server);
        tls.use_certificate(asio::buffer(pem_.certificate), asio::ssl::context::pem);
        tls.use_private_key(asio::buffer(pem_.key), asio::ssl::context::pem);
        while (!stopping_) {
            boost::system::error_code ec;
            tcp::socket socket(context_);
            acceptor_.accept(socket, ec);
            asio::ssl::stream<tcp::socket> stream(std::move(socket), tls);
            stream.handshake(asio::ssl::stream_base::server, ec);
            std::string head;
            if (!ec) asio::read_until(stream, asio::dynamic_buffer(head), "\r\n\r\n", ec);
            if (ec) continue;
            const std::string answer =
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 15\r\n\r\n{\"status\":\"ok\"}";
            asio::write(stream, asio::buffer(answer), ec);
            stream.shutdown(ec);
        }
    }

    Pem pem_;
    asio::io_context context_;
    tcp::acceptor acceptor_;
    std::string ca_file_;
    std::atomic<bool> stopping_ = false;
    std::thread thread_;
};

TEST(Tls, CertificateAndNameAreChecked) {
    const TlsServer server("DNS:localhost,IP:127.0.0.1");
    EXPECT_EQ(Client(server.info("localhost")).health().status, "ok");
    EXPECT_EQ(Client(server.info("127.0.0.1")).health().status, "ok");
    ConnectionInfo unknown = server.info("localhost");
    unknown.ca_file.clear();
    try {
        Client(unknown).health();
        FAIL() << "an unknown authority was accepted";
    } catch (const SandboxServiceError& error) {
        EXPECT_NE(std::string(error.what()).find("certificate verify failed"), std::string::npos)
            << error.what();
    }
    unknown.verify_certificate = false;
    EXPECT_EQ(Client(unknown).health().status, "ok");
    ConnectionInfo no_file = server.info("localhost");
    no_file.ca_file = "/no/such/file";
    EXPECT_THROW(Client(no_file).health(), SandboxError);
}

TEST(Tls, AnotherNamesCertificateIsRefused) {
    const TlsServer server("DNS:elsewhere.example");
    EXPECT_THROW(Client(server.info("localhost")).health(), SandboxServiceError);
    EXPECT_THROW(Client(server.info("127.0.0.1")).health(), SandboxServiceError);
}

}  // namespace
}  // namespace koyeb::sandbox
