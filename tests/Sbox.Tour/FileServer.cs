using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.FileProviders;
using Microsoft.Extensions.FileProviders.Physical;
using Microsoft.Extensions.Logging;

namespace Sbox.Tour;

/// <summary>A static web server on loopback, as a publisher's would be, that counts what it sent.</summary>
public sealed class FileServer : IAsyncDisposable
{
    private readonly WebApplication application;
    private long bytes;
    private long requests;

    private FileServer(WebApplication application) => this.application = application;

    /// <summary>Bytes of files sent so far.</summary>
    public long BytesSent => Interlocked.Read(ref bytes);

    /// <summary>Requests answered so far.</summary>
    public long Requests => Interlocked.Read(ref requests);

    /// <summary>The port it listens on.</summary>
    public int Port { get; private set; }

    /// <summary>Serves a directory.</summary>
    /// <param name="directory">What is served.</param>
    /// <param name="port">On which port of 127.0.0.1; 0 takes any that is free.</param>
    public static async Task<FileServer> Start(string directory, int port)
    {
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, port));
        var server = new FileServer(builder.Build());
        server.application.Use(async (HttpContext context, RequestDelegate next) =>
        {
            await next(context);
            Interlocked.Increment(ref server.requests);
            Interlocked.Add(ref server.bytes, context.Response.ContentLength ?? 0);
        });
        server.application.UseStaticFiles(new StaticFileOptions
        {
            // Repositories have .lock and names without an ending; all of them are plain bytes.
            FileProvider = new PhysicalFileProvider(directory, ExclusionFilters.None),
            ServeUnknownFileTypes = true,
            DefaultContentType = "application/octet-stream",
        });
        await server.application.StartAsync();
        server.Port = new Uri(server.application.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First()).Port;
        return server;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await application.StopAsync();
        await application.DisposeAsync();
    }
}
