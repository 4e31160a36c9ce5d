using System.Net;
using System.Net.Sockets;

namespace Sbox.Delivery.Tests;

/// <summary>Ports of this machine.</summary>
internal static class Ports
{
    public static int Free()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    public static void WaitFor(int port)
    {
        for (int n = 0; n < 600; n++)
        {
            try
            {
                using var client = new TcpClient();
                client.Connect(IPAddress.Loopback, port);
                return;
            }
            catch (SocketException)
            {
                Thread.Sleep(100);
            }
        }

        throw new InvalidOperationException($"nobody answered at port {port} within a minute");
    }
}
