"""A task that sends mail: name it `mlkit.bpmn.mail:send` in a service or send task."""

from __future__ import annotations

import smtplib
from email.message import EmailMessage


def send(
    mail_to: str,
    mail_subject: str,
    mail_text: str,
    mail_server: str = "localhost:25",
    mail_from: str = "mlkit@localhost",
) -> None:
    """Send a plain text mail.

    Args:
        mail_to: Addresses, separated by commas.
        mail_subject: One line.
        mail_text: The text.
        mail_server: `host:port` of an SMTP server.
        mail_from: The sender.

    Raises:
        OSError: The server is not there or refuses the mail.
    """
    message = EmailMessage()
    message["To"], message["From"], message["Subject"] = mail_to, mail_from, mail_subject
    message.set_content(mail_text)
    host, _, port = mail_server.partition(":")
    with smtplib.SMTP(host, int(port or 25), timeout=30) as server:
        server.send_message(message)
